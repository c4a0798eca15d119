"""Equilibrium propagation with the code of Laborieux et al., next to the matrix products of the same shapes in PyTorch.

    LABORIEUX_EP=FOLDER PYTHON laborieux_ep.py THREADS SECONDS [WORKLOAD ...]

FOLDER is a checkout of their repository Equilibrium-Propagation, which is not a package; it may also be on PYTHONPATH. Its modules need
torch, torchvision and matplotlib. A batch is trained as in its `train` with a third phase: free states from zero, a phase with a
positive nudge, one with a negative nudge from the free states again, and SGD on the difference. The network is its `P_MLP`, and the
nonlinearity its hard sigmoid. It reads every layer in every step, including the first, whose input never changes; our products do not.
"""

import os
import sys

import _torch_products
import _turns

torch = _turns.library("torch")
if "LABORIEUX_EP" in os.environ:
    sys.path.insert(0, os.environ["LABORIEUX_EP"])
reference = _turns.library("model_utils", "; set LABORIEUX_EP to the folder of a checkout of Equilibrium-Propagation")

BETA = 0.5


def mlp():
    """Train 784-512-512-10 with 20 free steps and two phases of 4 nudged steps."""
    widths, free, nudged = _turns.EP_HOPFIELD
    model = reference.P_MLP(list(widths), activation=reference.my_hard_sig)
    criterion = torch.nn.MSELoss(reduction="none")
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-3)
    x, y = torch.rand(_turns.BATCH, widths[0]), torch.arange(_turns.BATCH) % widths[-1]

    def work():
        states = model(x, y, model.init_neurons(len(x), x.device), free, beta=0.0, criterion=criterion)
        begun = reference.copy(states)
        plus = reference.copy(model(x, y, states, nudged, beta=BETA, criterion=criterion))
        minus = model(x, y, begun, nudged, beta=-BETA, criterion=criterion)
        model.compute_syn_grads(x, y, plus, minus, (BETA, -BETA), criterion)
        optimiser.step()

    return _torch_products.products(_turns.equilibrium_products(_turns.dense_shapes(widths), free, nudged)), work


WORKLOADS = {"ep-hopfield": mlp}

if __name__ == "__main__":
    _torch_products.start()
    _turns.measure(WORKLOADS)
