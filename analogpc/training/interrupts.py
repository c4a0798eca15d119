"""Signals that stop a process: deferred to the end of the current batch, and never lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(BaseException):
    """Raised by `Interrupts.check` after a signal; `Interrupts` converts it into the effect of that signal."""


class Interrupts:
    """Defer signals within a block, and deliver them at its end.

    SIGINT (Ctrl-C), SIGTERM and SIGHUP are deferred in the main thread if their handlers are Python's own; other handlers stay
    in place. The block calls `check` between batches and is left by `Stopped`. Every signal then has its usual effect: Ctrl-C
    raises KeyboardInterrupt, the others end the process. A second Ctrl-C raises KeyboardInterrupt immediately.
    """

    def __init__(self) -> None:
        self._asked: list[int] = []
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Self:
        usual = signal.default_int_handler, signal.SIG_DFL, remember
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in _NAMES if hasattr(signal, name)):
                if signal.getsignal(number) in usual:
                    self._former[number] = signal.signal(number, self._hold)
        if remembered():
            self._asked.append(signal.SIGINT)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        if self._asked:
            signal.raise_signal(self._asked[0])

    def _hold(self, number: int, _: FrameType | None) -> None:
        if number == signal.SIGINT and self._asked:
            raise KeyboardInterrupt
        self._asked.append(number)

    def check(self) -> None:
        """Leave the block if a signal has arrived.

        Raises
        ------
        Stopped
        """
        if self._asked:
            raise Stopped


_remembered: list[int] = []


@contextmanager
def insistent() -> Iterator[None]:
    """Raise KeyboardInterrupt on Ctrl-C within a block; if it was lost, raise it again at the next `Interrupts` or at the end.

    Python drops exceptions raised during object finalisation or in library callbacks ("Exception ignored in …").
    """
    former = signal.getsignal(signal.SIGINT)
    ours = threading.current_thread() is threading.main_thread() and former is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, remember)
    try:
        yield
    except KeyboardInterrupt:
        _remembered.clear()
        raise
    finally:
        if ours:
            signal.signal(signal.SIGINT, former)
        if remembered():
            raise KeyboardInterrupt


def remember(number: int, _: FrameType | None) -> None:
    """Handle SIGINT within `insistent`."""
    _remembered[:] = [os.getpid()]
    raise KeyboardInterrupt


def remembered() -> bool:
    """Return whether `remember` was called in this process since the last call of this function."""
    found = os.getpid() in _remembered
    _remembered.clear()
    return found
