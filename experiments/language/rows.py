"""Rows of the table of language models; see ``table.py``."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import Any

from analogpc.devices.substrate import Analog, Digital
from analogpc.rules import Backprop, IncrementalPC, PredictiveCoding

OUTPUT = {"output": "cross-entropy"}
BP = Backprop(**OUTPUT)
IPC = IncrementalPC(steps=4, step_size=0.1, **OUTPUT)
# T = 10 sweeps are nine steps of the states.
PC = PredictiveCoding(steps=9, step_size=0.0078125, step_decay=0.9, **OUTPUT)
MASKED_PC = PredictiveCoding(steps=7, step_size=0.03125, step_decay=0.9, **OUTPUT)


@dataclass(frozen=True)
class Row:
    """One run of the table.

    Attributes
    ----------
    rate : float or None
        Learning rate; None: selected by the search (see `selected_rate`).
    plain : bool
        Plain SGD, in place of AdamW.
    tested : bool
        Whether the best weights are tested; False for rows that select a setting by validation.
    """

    name: str
    task: str
    rule: Any
    rate: float | None
    seed: int = 0
    layer_norm: bool = True
    substrate: Any = field(default_factory=Digital)
    batches: int = 1000
    batch_size: int = 32
    evaluations: int = 10
    plain: bool = False
    most_seconds: float = 120.0
    features: int = 64
    hidden: int = 128
    blocks: int = 2
    evaluate_on: int = 1000
    tested: bool = True

    @property
    def key(self) -> str:
        """Key that identifies the row in the file."""
        return f"{self.name}, {self.task}, seed {self.seed}"


def conditional(seed: int) -> list[Row]:
    """Conditional models with the settings of the prototype, in which PC has no LayerNorm."""
    return [
        Row("BP", "conditional", BP, 0.003, seed),
        Row("iPC", "conditional", IPC, 0.003, seed),
        Row("PC, no LayerNorm", "conditional", PC, 0.0015, seed, layer_norm=False),
    ]


def masked(seed: int) -> list[Row]:
    """Masked models."""
    same = {"batches": 1500, "batch_size": 64, "evaluations": 15}
    return [
        Row("BP", "masked", BP, 0.0015, seed, **same),
        Row("iPC", "masked", IPC, 0.0015, seed, **same),
        Row("PC, no LayerNorm", "masked", MASKED_PC, 0.0008, seed, layer_norm=False, **same),
    ]


CROSSBARS = {"task": "conditional", "features": 32, "hidden": 64, "blocks": 1, "batch_size": 8, "evaluations": 2}
CROSSBARS |= {"evaluate_on": 300, "most_seconds": 60.0}
"""Size of all rows on crossbars and of the digital rows beside them: a processor trains a batch in 0.02 to 0.3 s."""
BATCHES, PULSED = 100, "reram-sb, pulses"
EXACT, MIXED = {"kind": "ideal"}, {"kind": "mixed-precision"}
SUBSTRATES = {
    "digital": Digital(),
    "idealized, exact writes": Analog(device="idealized", scheme=EXACT),
    "reram-sb, exact writes": Analog(device="reram-sb", scheme=EXACT),
    "reram-sb, mixed precision": Analog(device="reram-sb", scheme=MIXED),
    PULSED: Analog(device="reram-sb"),
}
SHORT_PC = PredictiveCoding(steps=3, step_size=0.1, step_decay=0.9, **OUTPUT)
"""PC with the sweeps and steps of iPC: T = 4; small steps move states by less than the noise of a read."""
RULES = {"BP": BP, "PC": SHORT_PC, "iPC": IPC}
SMALL_RATE = 0.006
"""Rate of AdamW at this size: better than 0.012 for every rule after 200 digital batches, by the validation of seed 100."""
RATES = {"BP": (0.1, 0.3, 1.0, 3.0), "PC": (0.1, 0.3, 1.0, 3.0), "iPC": (0.1, 0.3, 1.0)}
SEARCH_SEED = 100
"""Learning rates of the pulsed rows, of which validation selects one for each rule, and the seed of that search.

Plain SGD by iPC diverges at a rate of 2 even without devices."""


def search() -> list[Row]:
    """Search for the learning rates of the rows with pulses; the test set is not used."""
    return [
        Row(
            f"{name}, {PULSED}, rate {rate:g}",
            rule=rule,
            rate=rate,
            seed=SEARCH_SEED,
            **{**_pulsed(), "evaluations": 4},
            tested=False,
        )
        for name, rule in RULES.items()
        for rate in RATES[name]
    ]


def _pulsed() -> dict[str, Any]:
    return {**CROSSBARS, "substrate": SUBSTRATES[PULSED], "plain": True, "batches": BATCHES}


def selected_rate(row: Row, found: dict[str, Any]) -> float:
    """Return the learning rate with the best validation perplexity among the finished rows of the search for a row.

    Raises
    ------
    ValueError
        If the search is incomplete.
    """
    rule = row.name.split(",")[0]
    rows = [one for one in search() if one.name.startswith(f"{rule}, reram")]
    if missing := [one.key for one in rows if not found.get(one.key, {}).get("finished")]:
        raise ValueError(
            f"the learning rate of '{row.key}' follows from the row '{missing[0]}', which is missing: compute it first"
        )

    def judged(one: Row) -> float:
        record = found[one.key]
        return float("inf") if "diverged" in record else record["validation_perplexity"]

    return min(rows, key=judged).rate


def crossbars() -> list[Row]:
    """Models with all eight kinds of matrices on crossbars, and digital ones of the same small size."""
    same = {**CROSSBARS, "batches": BATCHES}
    return [
        Row(f"{name}, {where}, small", rule=rule, rate=SMALL_RATE, seed=seed, substrate=SUBSTRATES[where], **same)
        if where != PULSED
        else Row(f"{name}, {where}, small", rule=rule, rate=None, seed=seed, **_pulsed())
        for where, seed, (name, rule) in product(SUBSTRATES, range(3), RULES.items())
    ]


def equal_terms(seed: int) -> list[Row]:
    """Controls: LayerNorm for all rules, and as many weight updates for BP as for iPC."""
    return [
        Row("PC", "conditional", PC, 0.0015, seed),
        Row("BP, no LayerNorm", "conditional", BP, 0.0015, seed, layer_norm=False),
        Row("iPC, no LayerNorm", "conditional", IPC, 0.0015, seed, layer_norm=False),
        Row("BP, four times the batches", "conditional", BP, 0.003, seed, batches=4000),
        Row("iPC, squared errors on scores", "conditional", IPC, 0.003, seed),
    ]


def rows() -> list[Row]:
    """Return all rows, the most important ones first."""
    return [
        *(row for seed in range(3) for row in conditional(seed)),
        *masked(0),
        *masked(1),
        *masked(2),
        *(row for seed in range(3) for row in equal_terms(seed)),
        *search(),
        *crossbars(),
    ]
