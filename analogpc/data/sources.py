"""Files, addresses, checksums and published normalisations of the data sets.

All addresses and checksums are published; the comment above each data set names the source, and nothing is computed
here. Means and standard deviations are those of the training images, over all pixels of a channel. CIFAR-10's and Fashion-MNIST's
were recomputed from the images and agree in every digit; the others are in common use.
"""

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
        Published checksum.
    """

    name: str
    md5: str


@dataclass(frozen=True)
class Source:
    """A published data set.

    Attributes
    ----------
    layout : "idx", "cifar" or "svhn"
        Reader of the files.
    files : tuple of str
        Files for the reader; idx files also as ``NAME.gz``.
    folders : tuple of str
        Customary names of sub-folders.
    n_train : int
        Number of published training images. A set of exactly this size must have the published mean, since files of other data use the
        same names; a smaller set is taken as a part of it.
    mirrors : tuple of str
        Addresses tried in order.
    remotes : tuple of Remote
        Files to download: the same, or an archive of them.
    classes : tuple of str
        Names of the classes, in the order of the labels.
    mean, std : tuples of float
        Mean and standard deviation, on the scale from 0 to 1.
    augmentation : Augmentation
    system : str
        Folder of the Debian package.
    """

    layout: str
    files: tuple[str, ...]
    folders: tuple[str, ...]
    n_train: int
    mirrors: tuple[str, ...]
    remotes: tuple[Remote, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    classes: tuple[str, ...] = _TEN
    augmentation: Augmentation = field(default_factory=Augmentation)
    system: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the images, given by the published layout."""
        return (28, 28, 1) if self.layout == "idx" else (32, 32, 3)


_IDX = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
# Fine labels, in the order of fine_label_names.txt in the archive.
_CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree
wolf woman worm
"""
_CROPS = Augmentation(crop_padding=4, flip=True)


def _idx_remotes(*checksums: str) -> tuple[Remote, ...]:
    return tuple(Remote(f"{name}.gz", md5) for name, md5 in zip(_IDX, checksums, strict=True))


SOURCES: dict[str, Source] = {
    # LeCun, Cortes and Burges. Checksums: torchvision (datasets/mnist.py). Addresses: torchvision's mirror, that of TensorFlow
    # Datasets (url_checksums/mnist.txt), and the original page.
    "mnist": Source(
        layout="idx",
        files=_IDX,
        folders=("mnist", "MNIST/raw"),
        n_train=60_000,
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
            "http://yann.lecun.com/exdb/mnist/",
        ),
        remotes=_idx_remotes(
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        ),
        mean=(0.1307,),
        std=(0.3081,),
    ),
    # Xiao, Rasul and Vollgraf, arXiv 1708.07747. Checksums and the first address: its README (torchvision has the same); the second
    # address is its repository. Names as in the README.
    "fashion-mnist": Source(
        layout="idx",
        files=_IDX,
        folders=("fashion-mnist", "FashionMNIST/raw"),
        n_train=60_000,
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
        classes=("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        system="/usr/share/datasets/fashion-mnist",
    ),
    # Krizhevsky 2009. Address and checksum: its page, www.cs.toronto.edu/~kriz/cifar.html.
    "cifar10": Source(
        layout="cifar",
        files=(*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"),
        folders=("cifar-10-batches-bin", "cifar10", "cifar10/cifar-10-batches-bin"),
        n_train=50_000,
        mirrors=("https://www.cs.toronto.edu/~kriz/",),
        remotes=(Remote("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530"),),
        mean=(0.4914, 0.4822, 0.4465),
        std=(0.2470, 0.2435, 0.2616),
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        augmentation=_CROPS,
    ),
    # Krizhevsky 2009. Address and checksum: the same page, as repeated in public loaders. Fine labels.
    "cifar100": Source(
        layout="cifar",
        files=("train.bin", "test.bin"),
        folders=("cifar-100-binary", "cifar100", "cifar100/cifar-100-binary"),
        n_train=50_000,
        mirrors=("https://www.cs.toronto.edu/~kriz/",),
        remotes=(Remote("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8"),),
        mean=(0.5071, 0.4865, 0.4409),
        std=(0.2673, 0.2564, 0.2762),
        classes=tuple(_CIFAR100.split()),
        augmentation=_CROPS,
    ),
    # Netzer et al. 2011. Addresses and checksums: torchvision (datasets/svhn.py).
    "svhn": Source(
        layout="svhn",
        files=("train_32x32.mat", "test_32x32.mat"),
        folders=("svhn",),
        n_train=73_257,
        mirrors=("http://ufldl.stanford.edu/housenumbers/",),
        remotes=(
            Remote("train_32x32.mat", "e26dedcc434d2e4c54c9b2d4a06d8373"),
            Remote("test_32x32.mat", "eb5a983be6a315427106f1b164d9cef3"),
        ),
        mean=(0.4377, 0.4438, 0.4728),
        std=(0.1980, 0.2010, 0.1970),
    ),
}


def ends_of(name: str) -> tuple[tuple[int, int, int], int] | None:
    """Return sample shape and number of classes of published data, without reading files; None for other names.

    Examples
    --------
    >>> ends_of("cifar100")
    ((32, 32, 3), 100)
    """
    if name == "digits":
        return (8, 8, 1), len(_TEN)
    source = SOURCES.get(name)
    return None if source is None else (source.shape, len(source.classes))
