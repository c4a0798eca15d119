"""A small sweep, and the comparison of tables."""

SMALL = {
    "rule": "bp",
    "epochs": 2,
    "batch_size": 256,
    "network": {"kind": "mlp", "widths": [64, 10]},
    "axes": {"optimiser.learning_rate": [1e-3, 1e-2], "seed": 2},
}
TIMES = ("total_seconds", "seconds")


def same_rows(ones, others):
    """Whether two tables agree in everything but the time it took."""
    return [{k: v for k, v in row.items() if k not in TIMES} for row in ones] == [
        {k: v for k, v in row.items() if k not in TIMES} for row in others
    ]
