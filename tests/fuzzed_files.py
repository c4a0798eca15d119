"""Create random files with invalid content and read them; as a script, print one line per file.

python fuzzed_files.py KIND FILE FIRST COUNT

KIND is "run" (a run file, whose seal is made good again), "device" (TOML), "data" (.npz or .h5) or "sweep" (a file in the folder of a
sweep: its memory, its record or its study).
"""

import contextlib
import io
import json
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import h5py
import numpy as np

import analogpc as apc
from analogpc.commands import app
from analogpc.files.storage import BLOCK, _seal, describe
from analogpc.training.run import Run

SECONDS = 60


def resealed(raw):
    """Write the content with a valid checksum."""
    body = bytes(raw[BLOCK:])
    return _seal("run", BLOCK + len(body), body) + body


def edited(raw, change):
    held = io.BytesIO(raw)
    with h5py.File(held, "r+") as file:
        change(file)
    return held.getvalue()


def places(file):
    """Return all arrays and all attributes of a file."""
    arrays, attributes = [], []

    def visit(name, item):
        attributes.extend((item.name, one) for one in item.attrs)
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "biuf":
            arrays.append(name)

    file.visititems(visit)
    return sorted(arrays), sorted(attributes)


def flip_bytes(raw, rng):
    raw = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 8))):
        raw[rng.randrange(BLOCK, len(raw))] = rng.randrange(256)
    return bytes(raw), False


def _put(file, name, **how):
    del file[name]
    file.create_dataset(name, **how)


def _bomb(file, name):
    """Insert a chunk that unpacks to more than its declared size: a gigabyte of zeros."""
    import zlib

    _put(file, name, shape=(64, 64), dtype="f4", chunks=(64, 64), compression="gzip", shuffle=True)
    stream = zlib.compressobj(9)
    raw = b"".join(stream.compress(bytes(2**20)) for _ in range(1024)) + stream.flush()
    file[name].id.write_direct_chunk((0, 0), raw)


def _link_out(file, name):
    del file[name]
    file[name] = h5py.ExternalLink("other.h5", "/x")


def _virtual(file, name):
    shape, dtype = file[name].shape or (1,), file[name].dtype
    layout = h5py.VirtualLayout(shape, dtype)
    layout[...] = h5py.VirtualSource("other.h5", "/x", shape=shape)
    del file[name]
    file.create_virtual_dataset(name, layout)


def _soft(file, name):
    del file[name]
    file[name] = h5py.SoftLink("/study")


def _twice(file, name):
    file[f"{name} again"] = file[name]


def _circle(file, name):
    file[name].parent["round"] = file["/"]


def _not_finite(file, name):
    values = file[name][()]
    values = np.where(np.arange(values.size).reshape(values.shape) == 0, np.nan, values.astype(float))
    dtype = file[name].dtype
    _put(file, name, data=values.astype(dtype if dtype.kind == "f" else "f4"))


ARRAY_EDITS = {
    "longer": lambda f, name: _put(f, name, data=np.full((*f[name].shape, 3), 1, f[name].dtype)),
    "other shape": lambda f, name: _put(f, name, data=np.full((1, 4097), 1, f[name].dtype)),
    "other type": lambda f, name: _put(f, name, data=f[name][()].astype("f8" if f[name].dtype != "f8" else "f2")),
    "huge": lambda f, name: _put(f, name, shape=(2**20, 2**20), dtype="f4", chunks=(64, 64)),
    "gone": lambda f, name: f.__delitem__(name),
    "group": lambda f, name: (f.__delitem__(name), f.create_group(name)),
    "outside": lambda f, name: _put(f, name, shape=(64, 64), dtype="f4", external=[("secret.bin", 0, 4 * 4096)]),
    "link out": _link_out,
    "virtual": _virtual,
    "soft link": _soft,
    "twice": _twice,
    "circle": _circle,
    "bomb": _bomb,
    "texts": lambda f, name: _put(f, name, data=np.array([b"a", b"b"], h5py.string_dtype())),
    "references": lambda f, name: _put(f, name, data=[f.ref], dtype=h5py.ref_dtype),
    "not finite": _not_finite,
}
VALUES = (-1, 2**63, 2**40, 0, 1e300, float("nan"), "text", "\x1b]0;owned\x07", np.zeros(3), True)


def edit_array(raw, rng):
    kind = rng.choice(list(ARRAY_EDITS))

    def change(file):
        ARRAY_EDITS[kind](file, rng.choice([name for name in places(file)[0] if name.startswith(("network", "optimiser"))]))

    return edited(raw, change), True


def edit_attribute(raw, rng):
    def change(file):
        item, name = rng.choice(places(file)[1])
        file[item].attrs[name] = rng.choice(VALUES)

    return edited(raw, change), False


def edit_study(raw, rng):
    """Change a number, a word or a character of the study."""

    def change(file):
        said = rng.choice(("study", "said"))
        lines = file.attrs[said].splitlines()
        place = rng.randrange(len(lines))
        name, equals, value = lines[place].partition(" = ")
        new = rng.choice((*STUDY_VALUES, f"{value}0"))
        lines[place] = f"{name}{equals}{new}" if equals else rng.choice(("", "[x]", value))
        file.attrs[said] = "\n".join(lines)

    return edited(raw, change), False


STUDY_VALUES = (*["-1", "0", "1e300", "nan", "99999999999999999999", "true", "[[[[1]]]]", "1979-13-40"], '"x"', "[" * 3000)
MUTATIONS = (flip_bytes, edit_array, edit_attribute, edit_study)


def flip_any_bytes(raw, rng):
    raw = bytearray(raw)
    for _ in range(rng.choice((1, 1, 2, 8))):
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    return bytes(raw), False


def cut(raw, rng):
    return raw[: rng.randrange(len(raw))], False


def edit_text(raw, rng):
    """A value, a line or a word of a text changed; of other files a piece moved."""
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        at, to = sorted(rng.randrange(len(raw)) for _ in range(2))
        return raw[:at] + raw[to:] + raw[at:to], False
    values = list(re.finditer(r"(?<=[=:,\[] )[^,\]\n]+|(?<=\")[a-z_]+(?=\":)", text))
    if not values:
        return cut(raw, rng)
    found = rng.choice(values)
    return (text[: found.start()] + rng.choice((*STUDY_VALUES, "[]", "{}", "null")) + text[found.end() :]).encode(), False


def edit_json(raw, rng):
    """A value of a JSON text changed, left out, or of another kind."""
    try:
        tree = json.loads(raw)
    except ValueError:
        return edit_text(raw, rng)
    node = tree
    while True:
        places = list(node) if isinstance(node, dict) else list(range(len(node)))
        place = rng.choice(places)
        if not isinstance(node[place], (dict, list)) or not node[place] or rng.random() < 0.2:
            break
        node = node[place]
    if rng.random() < 0.2:
        del node[place]
    else:
        node[place] = rng.choice((-1, 0, 10**30, 1e300, True, None, "text", "\x1b]0;owned\x07", [], {}, [1, [2]], {"a": {}}))
    return json.dumps(tree).encode(), False


def edit_archive(raw, rng):
    """An array of a NumPy archive, or a data set of an HDF5 file, of another shape, type or kind."""
    if raw[:2] != b"PK":
        return edited(raw, lambda file: ARRAY_EDITS[rng.choice(list(ARRAY_EDITS))](file, rng.choice(places(file)[0]))), False
    with np.load(io.BytesIO(raw)) as archive:
        arrays = dict(archive)
    name = rng.choice(sorted(arrays))
    given = arrays[name]
    arrays[name] = rng.choice(
        (given[..., None], given[:0], given[:3], given.astype("U4"), given.astype(complex), given * np.nan, given.T, given[()][0])
    )
    held = io.BytesIO()
    np.savez(held, **arrays)
    return held.getvalue(), False


def use_device(path):
    from analogpc.devices.crossbars.builder import make_matrix
    from analogpc.kernels.random.streams import Key

    matrix = make_matrix(apc.Analog(device=str(path), rows=8), np.eye(4, 3), Key(0))
    matrix.forward(np.ones((2, 3)))
    matrix.elapse(60.0)
    return command("devices", str(path))


def use_data(path):
    data = apc.load_data(str(path))
    network = apc.mlp([int(np.prod(data.input_shape)), data.n_classes])
    apc.fit(network, "bp", data, epochs=1, batches=1, batch_size=8, progress=False)
    return ""


def use_sweep(path):
    """The same sweep again, which remembers its trials, and the page of it."""
    folder = path.parent
    page = "report", str(folder), "--out", str(folder.parent / "page")
    if path.name == "sweep.json":
        return command(*page)
    return command("sweep", str(folder / "study.toml"), "--out", str(folder), "--workers", "0") or command(*page)


def command(*arguments):
    """What a command refuses, in a sentence; anything but that is an error of its own."""
    reported = io.StringIO()
    with contextlib.redirect_stderr(reported), contextlib.redirect_stdout(io.StringIO()):
        status = app._run(list(arguments))
    return reported.getvalue().splitlines()[-1] if status else ""


def used(kind, path, study):
    """What becomes of a file of some kind; see `read`."""
    if kind == "run":
        return read(path, study)
    try:
        return {"device": use_device, "data": use_data, "sweep": use_sweep}[kind](path) or "went on"
    except (ValueError, ArithmeticError, OSError, MemoryError) as error:
        return f"{type(error).__name__}: {error}"


def read(path, study):
    """Read a file: the outcome is a sentence, or a run that resumes for one batch if its study is unchanged.

    A changed study may validly require more steps than a test can wait for.
    """
    try:
        describe(path)
        run = Run.load(path)
        if run.study == study:
            run.train(batches=1, progress=False)
        else:
            run.network.predict(np.zeros((1, *run.network.input_shape), run.network.dtype))
    except (ValueError, ArithmeticError, OSError, MemoryError) as error:
        return f"{type(error).__name__}: {error}"
    return "went on"


def outcomes(kind, base, first, count):
    """Read the mutations from number ``first`` on; yield the outcome of each."""
    base = Path(base)
    raw, mutations = base.read_bytes(), MUTATIONS if kind == "run" else PLAIN_MUTATIONS[kind]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "own"
        for number in range(first - 1, first + count):
            rng = random.Random(number)
            shutil.rmtree(folder, ignore_errors=True)
            # Of a sweep the other files of its folder belong to it.
            shutil.copytree(base.parent, folder) if kind == "sweep" else folder.mkdir()
            path = folder / base.name
            if number < first:  # What is needed anyway, kernels above all, counts for nothing.
                path.write_bytes(raw)
                if kind == "sweep":
                    (folder / "sweep.db").unlink()
                study = Run.load(path).study if kind == "run" else None
                found = used(kind, path, study)
                assert found == "went on", found
                continue
            mutation = mutations[number % len(mutations)]
            content, refused = mutation(raw, rng)
            path.write_bytes(resealed(content) if kind == "run" else content)
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            signal.alarm(SECONDS)
            try:
                found, bad = used(kind, path, study), ""
            except BaseException as error:
                found, bad = f"{type(error).__name__}: {error}", traceback.format_exc()
            signal.alarm(0)
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
            reported = {"number": number, "kind": mutation.__name__, "found": found, "traceback": bad, "grown": grown}
            yield reported | {"accepted": refused and found == "went on"}


PLAIN_MUTATIONS = {
    "device": (edit_text, flip_any_bytes, edit_text, cut),
    "data": (edit_archive, flip_any_bytes, edit_archive, cut),
    "sweep": (edit_json, flip_any_bytes, edit_text, cut),
}


def show(kind, base, first, count):
    """Print the outcomes of `outcomes`, each on a line, as soon as it is known."""
    for outcome in outcomes(kind, base, first, count):
        print(json.dumps(outcome), flush=True)


if __name__ == "__main__":
    show(*sys.argv[1:3], *map(int, sys.argv[3:]))
