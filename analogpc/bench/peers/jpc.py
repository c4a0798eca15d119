"""Predictive coding with JPC, next to the matrix products of the same shapes in JAX; needs a Python with jpc.

    PYTHON jpc.py THREADS SECONDS [WORKLOAD ...]

Hidden states descend with momentum by `update_pc_activities`, then weights by `update_pc_params`, with optax's plain SGD. The whole step,
including initialisation, is compiled as one function. The examples of JPC call each update separately and are slower. Its
perceptron has the activation before the weights.
"""

import _jax_products
import _turns

_turns.pin()
jax = _turns.library("jax")
equinox = _turns.library("equinox")
optax = _turns.library("optax")
jpc = _turns.library("jpc")


def mlp():
    """Train 784-256-256-10 with T = 8."""
    widths, steps = _turns.PC_MLP
    key = jax.random.PRNGKey(0)
    model = jpc.make_mlp(key, widths[0], widths[1], len(widths) - 1, widths[-1], "leaky_relu", use_bias=True)
    x, target = _jax_products.batch(widths[0])
    # JPC's energy is the mean over the batch, so a step of 0.02 per sample is scaled by the batch size.
    states = optax.sgd(0.02 * _turns.BATCH, momentum=0.3)
    weights = optax.sgd(1e-3)
    memory = weights.init((equinox.filter(model, equinox.is_array), None))

    @equinox.filter_jit
    def taught(model, memory, x, target):
        activities = jpc.init_activities_with_ffwd(model, x)
        velocity = states.init(activities)
        for _ in range(steps):
            moved = jpc.update_pc_activities((model, None), activities, states, velocity, target, input=x)
            activities, velocity = moved["activities"], moved["opt_state"]
        learnt = jpc.update_pc_params((model, None), activities, weights, memory, target, input=x)
        return learnt["model"], learnt["opt_state"]

    def work():
        jax.block_until_ready(jax.tree_util.tree_leaves(equinox.filter(taught(model, memory, x, target), equinox.is_array)))

    return _jax_products.products(_turns.relaxation_products(_turns.dense_shapes(widths), steps)), work


WORKLOADS = {"pc-mlp": mlp}

if __name__ == "__main__":
    _turns.measure(WORKLOADS)
