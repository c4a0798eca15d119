"""Libraries that only sweeps need, and what to type where they are missing."""

from __future__ import annotations

from importlib.util import find_spec


class MissingExtraError(ImportError):
    """A library is missing; the sentence says how to install it."""


def need(what: str, extra: str, *modules: str) -> None:
    """Refuse to go on without the libraries of an extra.

    Parameters
    ----------
    what : str
        What needs them, as the sentence begins.
    extra : str
        Name of the extra.
    modules : str
        Names under which they are imported.

    Raises
    ------
    MissingExtraError
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingExtraError(f'{what} needs {", ".join(missing)}: pip install "analogpc[{extra}]"')
