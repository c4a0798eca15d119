"""Matrix products of PyTorch, for the libraries based on it."""

import _turns

torch = _turns.library("torch")


def products(plan):
    """Return all products of a plan (see `_turns`), in order, into preallocated tensors."""
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
    """Set the number of threads and the random seed."""
    torch.set_num_threads(_turns.arguments()[0])
    torch.manual_seed(0)
