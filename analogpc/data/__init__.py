"""Data sets: images and labels in arrays, read from their published files."""

from analogpc.data.augmentation import Augmentation
from analogpc.data.dataset import DataError, Dataset
from analogpc.data.loaders import check_name, load_data

__all__ = ["Augmentation", "DataError", "Dataset", "check_name", "load_data"]
