"""States as trees: what a matrix or network holds, as nested dictionaries; and whether a tree that comes from elsewhere can be one.

There is one way to copy, move, save and load: see `Stateful`.
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
    """A part of a tree whose arrays are never changed, only replaced: snapshots share them."""


class Stateful(ABC):
    """What has a state that can be copied, moved to another backend, saved and loaded, all by one tree.

    A class says which attributes specify it, what it holds, and how it takes over such a tree. Copying, moving and loading follow
    from that; none of them draws a device or programs one.
    """

    specified: ClassVar[tuple[str, ...]]
    """Attributes that say what it is: they never change, and copies share them."""

    @abstractmethod
    def held(self) -> Tree:
        """Everything that later results depend on: nested dictionaries of numbers, texts and the very arrays at work, not copies."""

    @abstractmethod
    def _adopt(self, tree: Tree, backend: Backend) -> None:
        """Take over what `held` gave, in arrays of its own on a backend; forget what was formed from the former state."""

    @property
    @abstractmethod
    def backend(self) -> Backend:
        """Where its arrays are."""

    @classmethod
    def from_snapshot(cls, specification: Mapping[str, Any], tree: Tree, backend: Backend = "cpu") -> Self:
        """Make one from its specification and a tree, whose arrays may come from either backend, without drawing anything."""
        made = cls.__new__(cls)
        vars(made).update(specification)
        made._adopt(tree, backend)
        return made

    def snapshot(self, into: Tree | None = None) -> Tree:
        """What it holds now: a tree that stays as it is while this goes on.

        Parameters
        ----------
        into : dict
            An earlier snapshot, whose arrays are written over where they fit: that spares their allocation.
        """
        return copied_tree(self.held(), into)

    def restore(self, tree: Tree) -> None:
        """Take over a tree, whose arrays may come from either backend and are copied."""
        self._adopt(tree, self.backend)

    def copy(self, backend: Backend | None = None) -> Self:
        """An independent one in the same state, on another backend if one is named."""
        specification = {name: getattr(self, name) for name in self.specified}
        return self.from_snapshot(specification, self.held(), backend or self.backend)


def copied_tree(tree: Any, into: Any = None) -> Any:
    """A copy of a tree, its arrays in those of an earlier copy ``into`` where their shapes and types fit."""
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
    # In the layout that it has: turning it would take longer than copying it.
    return tree.copy(order="K")


_LARGEST_COUNT = 2**62
_LARGEST_KEY = 2**64 - 1


class StateError(ValueError):
    """A state does not fit what is to take it over; the sentence names the place and what is expected there."""


@dataclass(frozen=True)
class Shaped:
    """An array that is expected, known by its shape and its possible types alone."""

    shape: tuple[int, ...]
    dtypes: tuple[str, ...]


@dataclass(frozen=True)
class Varying:
    """A part of a state whose names depend on what has happened: ``expected`` gives the template for the part that was given."""

    expected: Callable[[Tree], Tree]


def fitted(given: Any, template: Any, place: str = "") -> Any:
    """A state that came from elsewhere, refused unless it has the form of a template, with all its numbers finite.

    Parameters
    ----------
    given : nested dict
        Of arrays, numbers and texts. Arrays may be promises, with ``shape``, ``dtype`` and ``read()``, which are read as soon as
        their shapes and types are seen to be right: so nothing large is read that is not wanted.
    template : nested dict
        A state of the same thing: names, shapes and types count, and not the values. `Shaped` and `Varying` stand for what it cannot
        show.
    place : str
        For messages.

    Returns
    -------
    nested dict
        With all arrays read.

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
    """A whole number from a file, refused unless it lies from ``low`` to ``high``."""
    if isinstance(given, (bool, np.bool_)) or not isinstance(given, (int, np.integer)) or not low <= given <= high:
        raise StateError(f"{place} = {_kind(given)} is not allowed: it is a whole number from {low} to {high}")
    return int(given)


def real(given: Any, place: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number from a file, refused unless it lies from ``low`` to ``high``."""
    number = isinstance(given, (float, int, np.floating, np.integer)) and not isinstance(given, bool)
    if not number or not math.isfinite(given) or not low <= given <= high:
        ends = "" if (low, high) == (-math.inf, math.inf) else f" from {low:g} to {high:g}"
        raise StateError(f"{place} = {_kind(given)} is not allowed: it is a finite number{ends}")
    return float(given)


def text(given: Any, place: str) -> str:
    """A text from a file."""
    if not isinstance(given, str):
        raise StateError(f"{place} must be a text, not {_kind(given)}")
    return given


def _kind(given: Any) -> str:
    """What was given, shortly."""
    if isinstance(given, dict):
        return "a group"
    if hasattr(given, "shape") and not isinstance(given, np.generic):
        return f"an array of the shape {tuple(given.shape)}"
    return repr(given)[:80]
