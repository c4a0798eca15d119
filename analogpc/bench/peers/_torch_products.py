"""Matrix products of PyTorch, for the peers that compute with it."""

import _turns

torch = _turns.library("torch")


def products(plan):
    """All products of a plan (see `_turns`), one after the other, into tensors that are there already."""
    calls = []
    for (rows, n_in, n_out), forward, backward, updates in plan:
        x, g, w = torch.randn(rows, n_in), torch.randn(rows, n_out), torch.randn(n_in, n_out)
        results = torch.empty(rows, n_out), torch.empty(rows, n_in), torch.empty(n_in, n_out)
        calls += zip((forward, backward, updates), (x, g, x.T), (w, w.T, g), results, strict=True)

    def run():
        for times, left, right, out in calls:
            for _ in range(times):
                torch.mm(left, right, out=out)

    return run


def start():
    """Say how many threads there are, and where random numbers begin."""
    torch.set_num_threads(_turns.arguments()[0])
    torch.manual_seed(0)
