"""Matrix products of JAX, for the libraries based on it."""

import _turns

jax = _turns.library("jax")
numpy = _turns.library("numpy")


def products(plan):
    """Return all products of a plan (see `_turns`), as consecutive compiled calls, each synchronised."""
    rng = numpy.random.default_rng(0)

    def some(*shape):
        return jax.numpy.asarray(rng.normal(size=shape).astype("float32"))

    forwards, backwards, outer = (jax.jit(f) for f in (lambda x, w: x @ w, lambda g, w: g @ w.T, lambda x, g: x.T @ g))
    calls = []
    for (rows, n_in, n_out), forward, backward, updates in plan:
        x, g, w = some(rows, n_in), some(rows, n_out), some(n_in, n_out)
        calls += [(forward, forwards, x, w), (backward, backwards, g, w), (updates, outer, x, g)]

    def run():
        for times, product, left, right in calls:
            for _ in range(times):
                product(left, right).block_until_ready()

    return run


def batch(*shape):
    """Return random inputs of the given sample shape, and ten alternating classes, one-hot."""
    x = numpy.random.default_rng(1).random((_turns.BATCH, *shape)).astype("float32")
    return jax.numpy.asarray(x), jax.numpy.eye(10)[jax.numpy.arange(_turns.BATCH) % 10]
