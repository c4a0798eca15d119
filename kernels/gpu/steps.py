"""Steps of random streams in captured graphs."""

from __future__ import annotations

from typing import Any


class MovingStep(int):
    """Step of a random stream in a captured graph: the number at capture, plus the content of a 0-d array at each replay.

    In a recording on the CPU (`kernels.recording`), ``moved`` is the number of its counter; frames that hold the step are changed.

    Integers can be added to it, and it can be passed to GPU kernels. Operations that depend on the number, such as a comparison or a
    remainder, raise, since their result would be fixed when the graph is captured.

    Parameters
    ----------
    value : int
    moved : () uint64 array of the GPU, or int
    """

    moved: Any

    def __new__(cls, value: int, moved: Any) -> MovingStep:
        """Create an integer with the device array that is added to it on the GPU."""
        step = super().__new__(cls, value)
        step.moved = moved
        return step

    def __add__(self, other: int) -> MovingStep:
        return MovingStep(int.__add__(self, int(other)), self.moved)

    __radd__ = __add__

    def __sub__(self, other: int) -> MovingStep:
        return MovingStep(int.__sub__(self, int(other)), self.moved)

    def _refuse(self, *_: Any) -> Any:
        raise TypeError("a captured graph cannot depend on the number of a step")

    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __mod__ = __floordiv__ = __mul__ = __rmul__ = __and__ = __rshift__ = _refuse
    __hash__ = int.__hash__


def read_counter(holder: Any, name: str) -> int:
    """Return an attribute of an object, or an entry of a dictionary: the step of a random stream."""
    return int(holder[name] if isinstance(holder, dict) else getattr(holder, name))


def write_counter(holder: Any, name: str, value: int) -> None:
    """Set such a step."""
    if isinstance(holder, dict):
        holder[name] = value
    else:
        setattr(holder, name, value)
