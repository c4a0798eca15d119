"""Frozen, validated descriptions: the base class of everything a user writes down about devices, networks, rules and runs.

A specification never holds state. It is checked when it is made, and it survives TOML (and therefore HDF5, where it is stored as
TOML text) unchanged, so that a result file can rebuild its experiment.
"""

from __future__ import annotations

import difflib
import stat
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    # pydantic does not export its metaclass; any model has it.
    ModelMetaclass = type(BaseModel)


_LONGEST_TEXT = 16 * 2**20
"""Bytes of a text file; a specification has some thousand."""


class SpecificationError(ValueError):
    """A specification was given a value that it does not allow; the message is one sentence that names the field."""


def _field_path(location: tuple[Any, ...], value: Any) -> str:
    """The dotted path of an error, without the union tags that pydantic puts between and behind the field names."""
    path, here = [], value
    for part in location:
        if isinstance(here, dict):
            if part not in here and here.get("kind") == part:
                continue
            here = here.get(part, {})
        elif isinstance(here, (list, tuple)) and isinstance(part, int):
            here = here[part] if part < len(here) else {}
        else:
            break
        path.append(str(part))
    return ".".join(path)


def _sentence(name: str, fields: list[str], error: ValidationError, given: Any) -> str:
    """One sentence for the first error that pydantic found."""
    first = error.errors(include_url=False)[0]
    path = _field_path(first["loc"], given)
    if first["type"] == "extra_forbidden":
        if len(first["loc"]) > 1:
            return f"{name} has no field '{path}'"
        close = difflib.get_close_matches(path, fields, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else f"; its fields are {', '.join(fields)}"
        return f"{name} has no field '{path}'{hint}"
    if first["type"] == "missing":
        return f"{name} needs the field '{path}'"
    message = first["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if not path:
        return f"{name}: {message}"
    return f"{name}: {path} = {first['input']!r} is not allowed: {message}"


def parse_toml(text: str) -> dict[str, Any]:
    """The fields that a TOML text gives; a byte order mark in front of it counts for nothing.

    Raises
    ------
    ValueError
        In one sentence, if it is not TOML.
    """
    try:
        return tomllib.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("it nests too deep") from None
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # Python converts no numbers of more than 4300 digits, and knows no 30th of February.
        raise ValueError("it holds a number that is too long, or a date that does not exist") from None


def read_text(path: str | Path) -> str:
    """The text of a file that somebody wrote, in UTF-8 with or without a byte order mark.

    Raises
    ------
    ValueError
        In one sentence with the path, if it cannot be read, is not a regular file, is larger than a specification can be, or holds
        anything but such text.
    """
    try:
        held = Path(path).stat()
        if not stat.S_ISREG(held.st_mode):
            raise ValueError(f"{path} cannot be read: it is not a regular file")
        if held.st_size > _LONGEST_TEXT:
            raise ValueError(
                f"{path} cannot be read: {held.st_size} bytes are more than the {_LONGEST_TEXT} that a text may have"
            )
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from None
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{path} begins with a byte order mark of UTF-16: save it as text in UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not text in UTF-8") from None


class _Refusing(ModelMetaclass):
    """Turns pydantic's multi-line report into one sentence, only at the outermost call, so that nested fields keep their path."""

    __pydantic_fields__: dict[str, Any]

    def __call__(cls, *args: Any, **fields: Any) -> Any:
        try:
            return super().__call__(*args, **fields)
        except ValidationError as error:
            raise SpecificationError(_sentence(cls.__name__, list(cls.__pydantic_fields__), error, fields)) from None


class Specification(BaseModel, metaclass=_Refusing):
    """Base class of the frozen specifications.

    Fields never hold ``None`` (TOML has no null): "without limit" is ``inf``, and a variant is a class of its own, told apart by
    its ``kind``. Unknown fields are refused.

    Raises
    ------
    SpecificationError
        In one sentence naming the field, the value and what is allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=True)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Build from plain nested dictionaries, as they come out of TOML."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise SpecificationError(_sentence(cls.__name__, list(cls.model_fields), error, fields)) from None

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, lists and scalars."""
        return self.model_dump(mode="python")

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Build from TOML text.

        Raises
        ------
        SpecificationError
            If the text is not TOML, or a field is not allowed.
        """
        try:
            fields = parse_toml(text)
        except ValueError as error:
            raise SpecificationError(f"{cls.__name__}: this is not TOML: {error}") from None
        return cls.from_dict(fields)

    def to_toml(self) -> str:
        """TOML text from which `from_toml` rebuilds an equal specification."""
        return tomli_w.dumps(self.to_dict())

    def but(self, **changes: Any) -> Self:
        """A copy with some fields changed, validated like any other."""
        return type(self)(**{**{name: getattr(self, name) for name in type(self).model_fields}, **changes})
