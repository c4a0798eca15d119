"""Data files: the order of the places, downloads."""

import gzip
import hashlib
import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from analogpc.data import DataError, load_data
from analogpc.data.sources import SOURCES, Remote


class Answer:
    """What requests would return."""

    def __init__(self, content):
        self.content, self.headers = content, {"content-length": str(len(content))}

    def raise_for_status(self):
        pass

    def iter_content(self, chunk_size):
        return (self.content[start : start + chunk_size] for start in range(0, len(self.content), chunk_size))


@pytest.fixture(autouse=True)
def internet(monkeypatch, tmp_path):
    """A simulated internet of addresses and their content; other addresses and the user's cache are unreachable."""
    import pooch
    import requests

    pages, asked = {}, []

    def get(url, **_):
        asked.append(url)
        if url not in pages:
            raise requests.ConnectionError("no internet here")
        return Answer(pages[url])

    monkeypatch.setattr(requests, "get", get)
    monkeypatch.setattr(pooch, "os_cache", lambda name: tmp_path / "cache" / name)
    monkeypatch.delenv("ANALOGPC_DATA", raising=False)
    # A copy that this system may have would be found before the internet.
    monkeypatch.setitem(SOURCES, "fashion-mnist", replace(SOURCES["fashion-mnist"], system=str(tmp_path / "system")))
    return pages, asked


def idx_set(folder, rng):
    """A small set of four files; its training images."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, n in (("t10k", 5), ("train", 12)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", np.zeros(n, np.uint8))):
            content = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
            (folder / f"{name}-{kind}-ubyte.gz").write_bytes(gzip.compress(content))
    return images


def cifar_set(folder, rng, name):
    """Four records in each file; those of the test file."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in SOURCES[name].files:
        records = rng.integers(0, 10, (4, 3073 if name == "cifar10" else 3074), dtype=np.uint8)
        records.tofile(folder / file)
    return records


def test_files_are_looked_for_in_order(tmp_path, rng, monkeypatch, internet):
    """An explicit folder, then the environment, then the system; the internet is not asked."""
    sets = {place: idx_set(tmp_path / place / "fashion-mnist", rng) for place in ("explicit", "environment", "system")}

    def found():
        return load_data("fashion-mnist").train_images[..., 0]

    np.testing.assert_array_equal(found(), sets["system"])
    monkeypatch.setenv("ANALOGPC_DATA", str(tmp_path / "environment"))
    np.testing.assert_array_equal(found(), sets["environment"])
    explicit = load_data("fashion-mnist", data_dir=str(tmp_path / "explicit")).train_images[..., 0]
    np.testing.assert_array_equal(explicit, sets["explicit"])
    monkeypatch.setenv("ANALOGPC_DATA", str(tmp_path / "nowhere"))
    np.testing.assert_array_equal(found(), sets["system"])
    assert internet[1] == []


def test_the_folder_of_a_set_goes_before_files_of_no_name(tmp_path, rng):
    """MNIST lies in the folder itself, Fashion-MNIST below its name: each is found where it is."""
    loose, named = idx_set(tmp_path, rng), idx_set(tmp_path / "fashion-mnist", rng)
    np.testing.assert_array_equal(load_data("mnist", data_dir=tmp_path).train_images[..., 0], loose)
    np.testing.assert_array_equal(load_data("fashion-mnist", data_dir=tmp_path).train_images[..., 0], named)


def test_an_explicit_folder_without_the_files_is_refused(tmp_path, rng, monkeypatch, internet):
    """Even where another place has them."""
    idx_set(tmp_path / "elsewhere", rng)
    monkeypatch.setenv("ANALOGPC_DATA", str(tmp_path / "elsewhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        DataError, match=r"empty does not contain the files of 'mnist': train-images-idx3-ubyte, .*sub-folder mnist"
    ):
        load_data("mnist", data_dir=tmp_path / "empty")
    with pytest.raises(DataError, match=r"there is no folder .*nowhere to read 'mnist' from"):
        load_data("mnist", data_dir=tmp_path / "nowhere")
    assert internet[1] == []


def test_missing_data_name_the_two_ways_to_get_them(internet):
    with pytest.raises(
        DataError,
        match=r"'svhn' is not on this machine .*run again with internet access, or point --data-dir or .*ANALOGPC_DATA to a folder "
        r"with train_32x32\.mat, test_32x32\.mat",
    ):
        load_data("svhn")
    assert internet[1] == ["http://ufldl.stanford.edu/housenumbers/train_32x32.mat"]


def publish(monkeypatch, pages, name, contents, mirror):
    """Put files on one mirror of the simulated internet, and use their checksums as the published ones."""
    source = SOURCES[name]
    for file, content in contents.items():
        pages[source.mirrors[mirror] + file] = content
    remotes = tuple(Remote(file, hashlib.md5(content).hexdigest()) for file, content in contents.items())
    monkeypatch.setitem(SOURCES, name, replace(source, remotes=remotes))


def test_downloads_pass_over_a_mirror_that_fails_and_are_kept(tmp_path, rng, monkeypatch, internet, capfd):
    pages, asked = internet
    images = idx_set(tmp_path / "server", rng)
    contents = {f"{file}.gz": (tmp_path / "server" / f"{file}.gz").read_bytes() for file in SOURCES["mnist"].files}
    publish(monkeypatch, pages, "mnist", contents, mirror=1)
    # The first mirror is out of reach for all files but one, and of that it sends something else.
    pages[SOURCES["mnist"].mirrors[0] + "train-images-idx3-ubyte.gz"] = b"something else"
    np.testing.assert_array_equal(load_data("mnist").train_images[..., 0], images)
    assert [url.rsplit("/", 1)[0] + "/" for url in asked] == list(SOURCES["mnist"].mirrors[:2]) * 4
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "train-images-idx3-ubyte.gz" in shown.err
    pages.clear()
    np.testing.assert_array_equal(load_data("mnist").train_images[..., 0], images)
    assert len(asked) == 8


def archive(folder, files):
    """Return a tar archive like that of CIFAR, with additional members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for file in files:
            tar.add(folder / file, f"{folder.name}/{file}")
        for stray in ("../escaped.bin", "cifar-10-batches-bin/readme.html"):
            tar.addfile(tarfile.TarInfo(stray))
    return out.getvalue()


def test_archives_are_unpacked_once_and_only_what_is_needed(tmp_path, rng, monkeypatch, internet):
    pages, asked = internet
    records = cifar_set(tmp_path / "cifar-10-batches-bin", rng, "cifar10")
    content = archive(tmp_path / "cifar-10-batches-bin", SOURCES["cifar10"].files)
    publish(monkeypatch, pages, "cifar10", {"cifar-10-binary.tar.gz": content}, mirror=0)
    for _ in range(2):
        data = load_data("cifar10")
        np.testing.assert_array_equal(data.test_images.transpose(0, 3, 1, 2).reshape(4, -1), records[:, 1:])
    assert len(asked) == 1
    cache = tmp_path / "cache" / "analogpc" / "cifar10"
    assert {path.name for path in cache.iterdir()} == {*SOURCES["cifar10"].files, "cifar-10-binary.tar.gz"}
    assert not list(tmp_path.rglob("escaped.bin"))
    # What was unpacked and lost comes from the archive again, without the internet.
    (cache / "data_batch_2.bin").unlink()
    assert load_data("cifar10").fingerprint == data.fingerprint
    assert len(asked) == 1
    # And what was unpacked is enough.
    (cache / "cifar-10-binary.tar.gz").unlink()
    assert load_data("cifar10").fingerprint == data.fingerprint
    assert len(asked) == 1


def test_an_archive_that_lacks_a_file_is_refused(tmp_path, rng, monkeypatch, internet):
    cifar_set(tmp_path / "cifar-100-binary", rng, "cifar100")
    content = archive(tmp_path / "cifar-100-binary", ["train.bin"])
    publish(monkeypatch, internet[0], "cifar100", {"cifar-100-binary.tar.gz": content}, mirror=0)
    with pytest.raises(DataError, match=r"the archive of 'cifar100' in .* does not contain train\.bin, test\.bin"):
        load_data("cifar100")


def test_a_wrong_checksum_is_refused(tmp_path, internet):
    """pooch itself refuses what does not have the published checksum, and keeps nothing of it."""
    internet[0][SOURCES["svhn"].mirrors[0] + "train_32x32.mat"] = b"not the data"
    with pytest.raises(DataError, match=r"'svhn' is not on this machine and could not be downloaded \(ValueError: MD5 hash of "):
        load_data("svhn")
    assert not list(tmp_path.rglob("*.mat"))


def test_published_checksums_are_md5_sums_and_each_belongs_to_one_file():
    remotes = [remote for source in SOURCES.values() for remote in source.remotes]
    assert all(len(bytes.fromhex(remote.md5)) == 16 for remote in remotes)
    assert len({remote.md5 for remote in remotes}) == len(remotes) == 12


def test_unknown_names_are_refused():
    with pytest.raises(DataError, match="there is no data set 'emnist'; the data sets are digits, mnist, fashion-mnist"):
        load_data("emnist")
