"""What is where: files, addresses, checksums and published normalisations of the data sets."""

from __future__ import annotations

from dataclasses import dataclass, field

from analogpc.data.augmentation import Augmentation

_TEN = tuple("0123456789")


@dataclass(frozen=True)
class Remote:
    """One file to download.

    Attributes
    ----------
    name : str
        File name.
    md5 : str
        The published checksum.
    """

    name: str
    md5: str


@dataclass(frozen=True)
class Source:
    """A data set as it is published.

    Attributes
    ----------
    layout : "idx", "cifar" or "svhn"
        Which reader it needs.
    files : tuple of str
        The files that the reader opens; idx files also as ``NAME.gz``.
    folders : tuple of str
        Sub-folders in which people keep them.
    mirrors : tuple of str
        Addresses tried in order.
    remotes : tuple of Remote
        The files to download: the same, or an archive of them.
    classes : tuple of str
        Names of the classes, in the order of the labels; numbers where the files at hand need not name them.
    mean, std : tuples of float
        On the scale from 0 to 1.
    augmentation : Augmentation
    system : str
        Where a Debian package puts the files.
    """

    layout: str
    files: tuple[str, ...]
    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    remotes: tuple[Remote, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...] = _TEN
    augmentation: Augmentation = field(default_factory=Augmentation)
    system: str = ""


_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
_CROPS = Augmentation(crop_padding=4, flip=True)


def _idx_remotes(*checksums: str) -> tuple[Remote, ...]:
    return tuple(Remote(f"{name}.gz", md5) for name, md5 in zip(_IDX, checksums, strict=True))


SOURCES: dict[str, Source] = {
    # LeCun, Cortes and Burges; checksums as in torchvision.
    "mnist": Source(
        layout="idx",
        files=_IDX,
        folders=("mnist", "MNIST/raw"),
        mirrors=("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
        remotes=_idx_remotes(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
        mean=(0.1307,),
        std=(0.3081,),
    ),
    # Xiao, Rasul and Vollgraf, arXiv 1708.07747; checksums from its own README.
    "fashion-mnist": Source(
        layout="idx",
        files=_IDX,
        folders=("fashion-mnist", "FashionMNIST/raw"),
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        remotes=_idx_remotes(
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        mean=(0.2860,),
        std=(0.3530,),
        classes=(
            "T-shirt/top",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ),
        system="/usr/share/datasets/fashion-mnist",
    ),
    # Krizhevsky 2009; checksums from its own page.
    "cifar10": Source(
        layout="cifar",
        files=(*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"),
        folders=("cifar-10-batches-bin", "cifar10"),
        mirrors=("https://www.cs.toronto.edu/~kriz/",),
        remotes=(Remote("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        augmentation=_CROPS,
    ),
    "cifar100": Source(
        layout="cifar",
        files=("train.bin", "test.bin"),
        folders=("cifar-100-binary", "cifar100"),
        mirrors=("https://www.cs.toronto.edu/~kriz/",),
        remotes=(Remote("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),),
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        classes=tuple(str(n) for n in range(100)),
        augmentation=_CROPS,
    ),
    # Netzer et al. 2011; checksums as in torchvision.
    "svhn": Source(
        layout="svhn",
        files=("train_32x32.mat", "test_32x32.mat"),
        folders=("svhn",),
        mirrors=("http://ufldl.stanford.edu/housenumbers/",),
        remotes=(
            Remote("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
            Remote("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
        ),
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
    ),
}
