"""States as trees: the state of a matrix or network as nested dictionaries, and the validation of trees from elsewhere.

Copying, moving, saving and loading all use one mechanism: see `Stateful`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from analogpc.kernels.gpu.arrays import Backend, copied, on_gpu

Tree = dict[str, Any]


class Settled(dict[str, Any]):
    """Part of a tree whose arrays are replaced but never modified, so that snapshots can share them."""


class Stateful(ABC):
    """Base class of objects whose state can be copied, moved to another backend, saved and loaded as one tree.

    A class defines which attributes specify it, what state it holds, and how it adopts such a tree. Copying, moving and loading follow
    from that; none of them draws or programs a device.
    """

    specified: ClassVar[tuple[str, ...]]
    """Names of the attributes that specify the object: they never change, and copies share them."""

    @abstractmethod
    def held(self) -> Tree:
        """Return everything that later results depend on: nested dictionaries of numbers, texts and the live arrays, not copies."""

    @abstractmethod
    def _adopt(self, tree: Tree, backend: Backend) -> None:
        """Adopt a tree from `held`, in arrays of its own on a backend, and discard cached values of the former state."""

    @property
    @abstractmethod
    def backend(self) -> Backend:
        """Backend of its arrays."""

    @classmethod
    def blank(cls, specification: Mapping[str, Any]) -> Self:
        """Create an object without state: until it is restored, only its template can be used."""
        made = cls.__new__(cls)
        vars(made).update(specification)
        return made

    @classmethod
    def from_snapshot(cls, specification: Mapping[str, Any], tree: Tree, backend: Backend = "cpu") -> Self:
        """Create an object from its specification and a tree, whose arrays may be on either backend, without random draws."""
        made = cls.blank(specification)
        made.restore(tree, backend)
        return made

    def snapshot(self, into: Tree | None = None) -> Tree:
        """Return the present state as a tree that later operations do not change.

        Parameters
        ----------
        into : dict
            An earlier snapshot, whose arrays are overwritten where they match, to avoid their allocation.
        """
        return copied_tree(self.held(), into)

    def restore(self, tree: Tree, backend: Backend | None = None) -> None:
        """Replace the state by a tree, whose arrays may be on either backend and are copied, by default to the present backend."""
        self._adopt(tree, backend or self.backend)

    def copy(self, backend: Backend | None = None) -> Self:
        """Return an independent object in the same state, optionally on another backend."""
        specification = {name: getattr(self, name) for name in self.specified}
        return self.from_snapshot(specification, self.held(), backend or self.backend)


def copied_tree(tree: Any, into: Any = None) -> Any:
    """Return a copy of a tree, reusing arrays of an earlier copy ``into`` where shapes and types match."""
    if isinstance(tree, Settled):
        return tree
    if isinstance(tree, dict):
        former = into if isinstance(into, dict) else {}
        return {name: copied_tree(value, former.get(name)) for name, value in tree.items()}
    if not isinstance(tree, np.ndarray):
        return copied(tree) if on_gpu(tree) else tree
    if isinstance(into, np.ndarray) and into is not tree and (into.shape, into.dtype) == (tree.shape, tree.dtype):
        np.copyto(into, tree)
        return into
    # Keep the memory layout: transposing takes longer than copying.
    return tree.copy(order="K")


_LARGEST_COUNT = 2**62
_LARGEST_KEY = 2**64 - 1


class StateError(ValueError):
    """A state does not match the object that it is loaded into; the message gives the place and what is expected there."""


@dataclass(frozen=True)
class Shaped:
    """An expected array, given by its shape and its possible types."""

    shape: tuple[int, ...]
    dtypes: tuple[str, ...]


def stretched(tree: Any, shape: tuple[int, int]) -> Any:
    """Return the template of a grid (rows, columns) from the state of one device: its arrays (..., 1, 1), numbers and texts."""
    if isinstance(tree, dict):
        return {name: stretched(value, shape) for name, value in tree.items()}
    return Shaped((*tree.shape[:-2], *shape), (tree.dtype.name,)) if isinstance(tree, np.ndarray) else tree


@dataclass(frozen=True)
class Varying:
    """Part of a state whose names depend on its history: ``expected`` returns the template for a given part."""

    expected: Callable[[Tree], Tree]


def fitted(given: Any, template: Any, place: str = "") -> Any:
    """Return a state from elsewhere, rejecting it unless it matches a template and all its numbers are finite.

    Parameters
    ----------
    given : nested dict
        Arrays, numbers and texts. Arrays may be lazy, with ``shape``, ``dtype`` and ``read()``; they are read only after their shapes
        and types have been checked, so that unexpected data are not read.
    template : nested dict
        A state of the same object: names, shapes and types count, values do not. `Shaped` and `Varying` describe parts that it
        cannot show.
    place : str
        Path of the state, for messages.

    Returns
    -------
    nested dict
        The state with all arrays read.

    Raises
    ------
    StateError
        If a name is missing or not expected, an array has another shape or type, a number is not finite, or a count is negative.
    """
    if isinstance(template, Varying):
        return fitted(given, template.expected(_tree(given, place)), place)
    if isinstance(template, dict):
        return _fitted_tree(_tree(given, place), template, place)
    if isinstance(template, Shaped):
        return _fitted_array(given, template.shape, template.dtypes, place)
    if hasattr(template, "shape") and not isinstance(template, np.generic):
        return _fitted_array(given, template.shape, (template.dtype.name,), place)
    return _fitted_value(given, template, place)


def _tree(given: Any, place: str) -> Tree:
    if not isinstance(given, dict):
        raise StateError(f"{place or 'the state'} must be a group of values, not {_kind(given)}")
    return given


def _fitted_tree(given: Tree, template: Tree, place: str) -> Tree:
    missing, unknown = template.keys() - given.keys(), given.keys() - template.keys()
    if missing:
        raise StateError(f"{_join(place, min(missing))} is missing")
    if unknown:
        raise StateError(f"{_join(place, min(unknown))} is not expected here")
    return {name: fitted(given[name], template[name], _join(place, name)) for name in template}


def _join(place: str, name: str) -> str:
    return f"{place}/{name}" if place else name


def _fitted_array(given: Any, shape: tuple[int, ...], dtypes: tuple[str, ...], place: str) -> Any:
    if not hasattr(given, "shape") or isinstance(given, np.generic):
        raise StateError(f"{place} must be an array of the shape {shape}, not {_kind(given)}")
    if tuple(given.shape) != tuple(shape) or given.dtype.name not in dtypes:
        wanted = f"the shape {tuple(shape)} and the type {' or '.join(dtypes)}"
        raise StateError(f"{place} must have {wanted}, not {tuple(given.shape)} and {given.dtype.name}")
    values = given.read() if hasattr(given, "read") else given
    if values.dtype.kind in "fc" and not bool(np.isfinite(values).all()):
        raise StateError(f"{place} holds a number that is not finite")
    if values.dtype.kind == "i" and values.size and int(values.min()) < 0:
        raise StateError(f"{place} holds a negative count")
    return values


def _fitted_value(given: Any, template: Any, place: str) -> Any:
    if isinstance(template, (bool, np.bool_)):
        if not isinstance(given, (bool, np.bool_)):
            raise StateError(f"{place} must be true or false, not {_kind(given)}")
        return bool(given)
    if isinstance(template, str):
        if not isinstance(given, str):
            raise StateError(f"{place} must be a text, not {_kind(given)}")
        return given
    if isinstance(template, (int, np.integer)):
        return whole(given, place, 0, _LARGEST_KEY if place.endswith("key") else _LARGEST_COUNT)
    return real(given, place)


def whole(given: Any, place: str, low: int, high: int) -> int:
    """Return an integer from a file, rejecting values outside ``low`` to ``high``."""
    if isinstance(given, (bool, np.bool_)) or not isinstance(given, (int, np.integer)) or not low <= given <= high:
        raise StateError(f"{place} = {_kind(given)} is not allowed: give an integer from {low} to {high}")
    return int(given)


def real(given: Any, place: str, low: float = -math.inf, high: float = math.inf) -> float:
    """Return a finite number from a file, rejecting values outside ``low`` to ``high``."""
    number = isinstance(given, (float, int, np.floating, np.integer)) and not isinstance(given, bool)
    if not number or not math.isfinite(given) or not low <= given <= high:
        ends = "" if (low, high) == (-math.inf, math.inf) else f" from {low:g} to {high:g}"
        raise StateError(f"{place} = {_kind(given)} is not allowed: give a finite number{ends}")
    return float(given)


def text(given: Any, place: str) -> str:
    """Return a text from a file."""
    if not isinstance(given, str):
        raise StateError(f"{place} must be a text, not {_kind(given)}")
    return given


def _kind(given: Any) -> str:
    """Return a short description of a given value."""
    if isinstance(given, dict):
        return "a group"
    if hasattr(given, "shape") and not isinstance(given, np.generic):
        return f"an array of the shape {tuple(given.shape)}"
    return repr(given)[:80]
