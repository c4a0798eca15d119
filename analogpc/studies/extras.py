"""Optional libraries of sweeps, and how to install them."""

from __future__ import annotations

from importlib.util import find_spec


class MissingExtraError(ImportError):
    """Raised for a missing library; the message says how to install it."""


def need(what: str, extra: str, *modules: str) -> None:
    """Raise an error if a library of an extra is missing.

    Parameters
    ----------
    what : str
        Name of the feature, at the start of the message.
    extra : str
        Name of the extra.
    modules : str
        Import names of the libraries.

    Raises
    ------
    MissingExtraError
    """
    missing = [module for module in modules if find_spec(module) is None]
    if missing:
        raise MissingExtraError(f'{what} needs {", ".join(missing)}: pip install "analogpc[{extra}]"')
