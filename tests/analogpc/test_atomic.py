"""Replacing files: the kind of the target is kept, and a target that cannot be written is reported."""

import os
import socket
import stat

import pytest

from analogpc.files.atomic import StorageError, check_writable, make_folder, replace_file


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def test_a_link_stays_and_its_target_is_replaced(tmp_path):
    (tmp_path / "store").mkdir()
    target, link, chain = tmp_path / "store" / "run.h5", tmp_path / "latest.h5", tmp_path / "chain.h5"
    target.write_text("old")
    link.symlink_to(target)
    chain.symlink_to("latest.h5")
    replace_file(chain, b"new")
    assert (chain.is_symlink(), link.is_symlink(), target.is_symlink()) == (True, True, False)
    assert target.read_text() == "new"
    assert names(tmp_path / "store") == ["run.h5"]


def test_a_link_to_nothing_is_followed_or_refused(tmp_path):
    dangling, lost = tmp_path / "dangling.h5", tmp_path / "lost.h5"
    dangling.symlink_to(tmp_path / "made.h5")
    replace_file(dangling, b"new")
    assert dangling.is_symlink()
    assert (tmp_path / "made.h5").read_text() == "new"
    lost.symlink_to("/nowhere/x")
    for write in (check_writable, replace_file):
        with pytest.raises(StorageError, match=r"lost.h5 cannot be written: there is no folder /nowhere"):
            write(lost)
    assert os.readlink(lost) == "/nowhere/x"


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_the_mode_of_a_file_is_kept(mode, tmp_path):
    path = tmp_path / "run.h5"
    path.write_text("old")
    path.chmod(mode)
    replace_file(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_new_file_has_the_usual_mode(tmp_path):
    former = os.umask(0o027)
    try:
        replace_file(tmp_path / "run.h5", b"new")
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "run.h5").stat().st_mode) == 0o640


def test_what_is_not_a_file_stays_what_it_is(tmp_path):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    (tmp_path / "device").symlink_to("/dev/null")
    before = {entry.name: entry.lstat().st_mode for entry in tmp_path.iterdir()}
    for name, sentence in (("folder", "a folder"), ("pipe", "regular"), ("socket", "regular"), ("device", "regular")):
        for write in (check_writable, lambda path: replace_file(path, b"new")):
            with pytest.raises(StorageError, match=f"{name} cannot be written: .*{sentence}"):
                write(tmp_path / name)
    assert {entry.name: entry.lstat().st_mode for entry in tmp_path.iterdir()} == before


def test_a_file_of_two_names_is_refused(tmp_path):
    (tmp_path / "a.h5").write_text("old")
    os.link(tmp_path / "a.h5", tmp_path / "b.h5")
    for write in (check_writable, replace_file):
        with pytest.raises(StorageError, match="2 names"):
            write(tmp_path / "a.h5")
    assert (tmp_path / "b.h5").read_text() == "old"
    assert names(tmp_path) == ["a.h5", "b.h5"]


def test_a_missing_folder_and_a_read_only_one_are_told_at_once(tmp_path, monkeypatch):
    with pytest.raises(StorageError, match="there is no folder missing"):
        check_writable("missing/run.h5")

    def full(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", full)
    with pytest.raises(StorageError, match="Read-only file system"):
        check_writable(tmp_path / "run.h5")


@pytest.mark.parametrize("name", ["run[1].h5", "*.h5", "x" * 250, "ü" * 120])
def test_awkward_names(name, tmp_path):
    """Names that mean something in patterns, and names to which nothing can be added."""
    replace_file(tmp_path / name, b"1")
    left = next(iter(tmp_path.iterdir())).name
    assert left == name
    check_writable(tmp_path / name)
    replace_file(tmp_path / name, b"2")
    assert names(tmp_path) == [name]


def test_stale_files_of_others_are_left_alone(tmp_path):
    ours, theirs = tmp_path / ".*.h5.0123.partial", tmp_path / ".a.h5.0123.partial"
    for file in (ours, theirs):
        file.touch()
        os.utime(file, (0, 0))
    replace_file(tmp_path / "*.h5", b"")
    assert names(tmp_path) == ["*.h5", theirs.name]


def test_content_and_name_reach_the_disk_in_that_order(tmp_path, monkeypatch):
    """The content is written to disk before the file gets its name, and the folder after that."""
    steps = []
    fsync, replace = os.fsync, os.replace

    def sync(descriptor):
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else f"{os.fstat(descriptor).st_size} bytes"
        steps.append(kind)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", lambda old, new: (steps.append("rename"), replace(old, new)))
    replace_file(tmp_path / "run.h5", b"abc", b"de")
    assert steps == ["5 bytes", "rename", "folder"]


def test_a_failure_leaves_the_former_file_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "run.h5").write_text("old")

    def fail(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match=r"run.h5 cannot be written: No space left on device"):
        replace_file(tmp_path / "run.h5", b"new")
    assert (tmp_path / "run.h5").read_text() == "old"
    assert names(tmp_path) == ["run.h5"]


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    assert make_folder(tmp_path / "a" / "b").is_dir()
    with pytest.raises(StorageError, match=r"the folder .*file.c cannot be created: Not a directory"):
        make_folder(tmp_path / "file" / "c")
