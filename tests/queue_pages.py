"""Job pages for the runner of tools/gpu; importing this module makes its scripts importable."""

import importlib
import itertools
import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tools" / "gpu"))

epochs, queue_machine, queue_page, queue_programs, queue_training, run_next, vgg5_devices = map(
    importlib.import_module,
    ("epochs", "queue_machine", "queue_page", "queue_programs", "queue_training", "run_next", "vgg5_devices"),
)

PAGE = ROOT / "tools" / "gpu" / "QUEUE.md"

STUDY = {
    "dataset": "digits",
    "rule": "s+f",
    "network": {"kind": "mlp", "widths": [64, 12, 10]},
    "optimiser": {"kind": "adamw", "learning_rate": 0.01},
    "epochs": 3,
    "batch_size": 32,
}
TRAIN = """kind = "train"
backend = "cpu"
minutes = 0
seeds = [0, 1]
images = [200, 50]

[study]
dataset = "digits"
rule = "s+f"
network = { kind = "mlp", widths = [64, 12, 10] }
optimiser = { kind = "adamw", learning_rate = 0.01 }
epochs = 3
batch_size = 32
"""


def section(name, settings, state="open", words="What it does."):
    return f"### {name}\n\nState: {state}\n\n{words}\n\n```toml\n{settings.strip()}\n```\n\n"


def bench(minutes, code="pass", backend="cpu"):
    arguments = json.dumps(["-c", code, "{out}"])
    return f'kind = "bench"\nbackend = "{backend}"\nminutes = {minutes}\narguments = {arguments}'


WRITES = "import json, sys; json.dump({'measured': 7}, open(sys.argv[1], 'w'))"


def page_in(folder):
    """Write a page with the given sections in a new folder and return its path."""
    path = folder / "queue" / "QUEUE.md"
    path.parent.mkdir()

    def write(*sections):
        path.write_text("# Page\n\nState: of the art\n\n## Jobs\n\n" + "".join(sections), encoding="utf-8")
        return path

    return write


def called(path, *arguments, minutes=1.0):
    """Run the runner and return its exit status."""
    folder = path.parent.parent / "checkpoints"
    return run_next.main(["--queue", str(path), "--checkpoints", str(folder), "--minutes", str(minutes), *arguments])


def ticking(step=1.0):
    """A clock that advances by the given number of seconds at every call."""
    counter = itertools.count()
    return lambda: step * next(counter)


def states(path):
    return {entry.name: entry.state for entry in queue_page.read_page(path)}
