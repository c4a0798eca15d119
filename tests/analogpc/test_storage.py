"""The file container: exact round trips, and rejection of damaged, foreign and incomplete files."""

import os
import signal
import time

import h5py
import numpy as np
import pytest
from fresh_processes import pipe, start, write_for_ever
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from analogpc.files.storage import Leaf, StorageError, describe, read_file, read_header, write_file

names = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=8
).filter(lambda name: name != "." and name not in ("format", "kind", "format_version", "analogpc_version"))
arrays = hnp.arrays(
    st.sampled_from(["f4", "f8", "i4", "i8", "u1", "u4", "u8", "?"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
leaves = st.one_of(
    arrays,
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.booleans(),
    st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=("Cs",)), max_size=20),
)
trees = st.recursive(
    st.dictionaries(names, leaves, max_size=4),
    lambda deeper: st.dictionaries(names, st.one_of(leaves, deeper), max_size=4),
    max_leaves=12,
)


def same(a, b):
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float):
        return isinstance(b, float) and np.float64(a).tobytes() == np.float64(b).tobytes()
    return type(a) is type(b) and a == b


@given(tree=trees)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_tree_comes_back_bit_for_bit(tree, tmp_path):
    path = tmp_path / "tree.h5"
    write_file(path, "test", tree)
    assert same(read_file(path, "test"), tree)
    first = path.read_bytes()
    write_file(path, "test", dict(reversed(tree.items())))
    assert path.read_bytes() == first


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    path = tmp_path_factory.mktemp("storage") / "example.h5"
    tree = {
        "text": "a = 1\n",
        "long": "x" * 40_000,
        "number": 1.5,
        "deep": {"g": Leaf(np.arange(3000.0), unit="S", description="conductances", dims=("row",)), "n": 2**64 - 1},
    }
    write_file(path, "crossbars", tree)
    return path


def test_other_readers_see_what_is_in_it(example):
    with h5py.File(example) as file:
        assert file.attrs["format"] == "analogpc"
        assert file["deep/g"].attrs["unit"] == "S"
        assert file["deep/g"].attrs["dims"] == "row"
        np.testing.assert_array_equal(file["deep/g"][...], np.arange(3000.0))


def test_header_and_listing_tell_what_is_in_it(example):
    header = read_header(example)
    assert header["kind"] == "crossbars"
    assert header["bytes"] == example.stat().st_size
    listing = {entry.path: entry for entry in describe(example)}
    assert listing["/deep/g"].content == "(3000,) float64"
    assert listing["/deep/g"].meaning == "S conductances (row)"
    assert listing["/number"].content == "1.5"


def refusal(path, kind=None):
    with pytest.raises(StorageError) as error:
        read_file(path, kind)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert path.name in sentence
    return sentence


def test_every_flipped_bit_is_noticed(example, tmp_path):
    """The whole user block bit by bit, the first and last bytes of the rest, and a thousand places between."""
    content = bytearray(example.read_bytes())
    rng = np.random.default_rng(1)
    places = [*range(512), *range(512, 640), *rng.integers(640, len(content), 1000), len(content) - 1]
    path = tmp_path / "flipped.h5"
    for place in places:
        bit = 1 << int(rng.integers(8))
        content[place] ^= bit
        path.write_bytes(content)
        assert any(word in refusal(path) for word in ("damaged", "not an analogpc file", "newer", "truncated"))
        content[place] ^= bit
    path.write_bytes(content)
    assert read_file(path)["number"] == 1.5


@pytest.mark.parametrize("length", [0, 1, 12, 13, 100, 511, 512, 513, 2000, -1])
def test_truncation_is_noticed(example, tmp_path, length):
    path = tmp_path / "short.h5"
    path.write_bytes(example.read_bytes()[:length])
    assert any(word in refusal(path) for word in ("truncated", "damaged", "not an analogpc file"))


def test_appended_bytes_are_noticed(example, tmp_path):
    path = tmp_path / "long.h5"
    path.write_bytes(example.read_bytes() + b"\0")
    assert "damaged" in refusal(path)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["x"] = 1
    assert "is not an analogpc file" in refusal(path)
    for content in (b"", b"hello", b"\x89PNG\r\n\x1a\n" + bytes(600)):
        path.write_bytes(content)
        assert "is not an analogpc file" in refusal(path)
    assert "a folder" in refusal(tmp_path)
    assert "does not exist" in refusal(tmp_path / "nothing.h5")


def test_another_kind_and_a_newer_version_are_refused(example, tmp_path):
    assert "is a crossbars file, not a run file" in refusal(example, "run")
    path = tmp_path / "newer.h5"
    path.write_bytes(example.read_bytes().replace(b"format_version 1", b"format_version 7", 1))
    assert "newer version (format 7; this version reads 1)" in refusal(path)


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        ({"a/b": 1}, "cannot be a name"),
        ({"": 1}, "cannot be a name"),
        ({"a": None}, "NoneType"),
        ({"a": 2**64}, "64 bits"),
        ({"a": np.array(["x"])}, "cannot hold"),
        ({"a": np.ma.masked_array([1.0], [True])}, "is masked"),
        ({"a": np.zeros((1,) * 33)} if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else {"a": {1}}, "cannot (be stored|hold)"),
    ],
)
def test_what_cannot_be_stored_is_refused_and_leaves_nothing(tree, sentence, tmp_path):
    with pytest.raises(StorageError, match=sentence):
        write_file(tmp_path / "x.h5", "test", tree)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "tree",
    [
        {"format": 1, "kind": "mine", "analogpc_version": {"format": 2.5}},
        {".": 1, "%2E": 2, "a%": {"..": np.arange(3)}, "null\0": "b"},
        {"a": "null \0 and half a pair \ud800", "b": "\0" * 40_000},
        {"z": np.array([1j, 2.5]), "half": np.array([1.5], np.float16), "0-d": np.array(3), "big": np.array([1, 2], ">i4")},
    ],
)
def test_awkward_names_and_values_come_back_as_they_were(tree, tmp_path):
    """Names that the file itself uses, names that mean something in HDF5, and texts that HDF5 strings would cut."""
    write_file(tmp_path / "x.h5", "test", tree)

    def same(one, other):
        if isinstance(one, dict):
            return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
        if isinstance(one, np.ndarray):
            return one.shape == other.shape and one.dtype == other.dtype.newbyteorder("=") and (one == other).all()
        return type(one) is type(other) and one == other

    back = read_file(tmp_path / "x.h5")
    tree = {name: value.astype("=i4") if name == "big" else value for name, value in tree.items()}
    assert same(tree, back)


def test_a_kind_that_would_break_the_seal_and_endless_trees_are_refused(tmp_path):
    endless: dict = {}
    endless["itself"] = endless
    with pytest.raises(StorageError, match="holds itself"):
        write_file(tmp_path / "x.h5", "test", endless)
    for kind in ("", "two\nlines", "k" * 65):
        with pytest.raises(StorageError, match="printable"):
            write_file(tmp_path / "x.h5", kind, {})
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(StorageError, match="cannot be written"):
        write_file(tmp_path / "missing" / "x.h5", "test", {})
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        write_file(tmp_path / "folder.h5", "test", {})
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.h5"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_kills_at_random_moments_leave_a_whole_file(tmp_path):
    """24 processes are killed while they write a file again and again: it always exists, and holds the content of one write."""
    path = tmp_path / "run.h5"
    write_file(path, "test", {"n": 0, "array": np.zeros(400_000)})
    rng = np.random.default_rng(7)
    seen = set()
    for _ in range(8):
        pipes = [pipe() for _ in range(3)]
        writers = [start(write_for_ever, path, sends, folder=tmp_path) for _, sends in pipes]
        for writer, (receives, sends) in zip(writers, pipes, strict=True):
            assert receives.poll(60)
            time.sleep(float(rng.uniform(0.01, 0.12)))
            writer.kill()
            writer.join()
            receives.close()
            sends.close()
            tree = read_file(path, "test")
            assert (tree["array"] == tree["n"]).all()
            seen.add(tree["n"])
    assert len(seen) > 3
    # The next write removes partial files of killed processes, if they are old enough to belong to no running one.
    left = list(tmp_path.glob(".run.h5.*.partial"))
    for old in left:
        os.utime(old, (0, 0))
    (tmp_path / ".run.h5.fresh.partial").touch()
    write_file(path, "test", {"n": 0})
    assert [p.name for p in tmp_path.glob(".*.partial")] == [".run.h5.fresh.partial"]
