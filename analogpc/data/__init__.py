"""Data sets: samples and labels in arrays or files, published or your own.

Contains everything that provides batches of samples and labels. Published data are in `loaders` and `sources`, your own in `own` and
`own_files`; a new source of samples is a class in `samples`, a new normalisation a name in `normalisation`.
"""

from analogpc.data.augmentation import Augmentation
from analogpc.data.dataset import Dataset
from analogpc.data.description import DataDescription
from analogpc.data.loaders import check_name, load_data
from analogpc.data.own import as_dataset
from analogpc.data.samples import DataError

__all__ = ["Augmentation", "DataDescription", "DataError", "Dataset", "as_dataset", "check_name", "load_data"]
