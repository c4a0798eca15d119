"""Base class of the specifications: frozen, validated descriptions of devices, networks, rules and runs.

A specification never holds state. It is validated when it is created and survives TOML (hence HDF5, which stores it as TOML text)
unchanged, so that an experiment can be rebuilt from its result file.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

import numpy as np
import tomli_w
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from analogpc.devices.texts import parse_toml

if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass
else:
    # pydantic does not export its metaclass; any model has it.
    ModelMetaclass = type(BaseModel)


class SpecificationError(ValueError):
    """Invalid value of a specification; the message is one sentence that names the field."""


# Replacements for pydantic's messages about values that are not tables, which refer to Python objects.
_TABLES = {
    "model_type": "a table of fields is needed",
    "model_attributes_type": "a table of fields with a kind, or the name of a kind, is needed",
    "dict_type": "a table of fields is needed",
    "union_tag_not_found": "the table must give its kind",
}


def _sentence(kind: Any, error: ValidationError) -> str:
    """Format pydantic's first error as one sentence."""
    from analogpc.devices.fields import field_path

    errors = error.errors(include_url=False)
    # A required field that is misspelt is also missing; the misspelling helps more.
    unknown = [one for one in errors if one["type"] == "extra_forbidden"]
    first = unknown[0] if unknown and errors[0]["type"] == "missing" else errors[0]
    name, fields, path = kind.__name__, list(kind.__pydantic_fields__), field_path(kind, first["loc"])
    if first["type"] == "extra_forbidden":
        if "." in path:
            return f"{name} has no field '{path}'"
        close = difflib.get_close_matches(path, fields, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else f"; its fields are {', '.join(fields)}"
        return f"{name} has no field '{path}'{hint}"
    if first["type"] == "missing":
        return f"{name} needs the field '{path}'"
    message = _message(first)
    if not path:
        return f"{name}: {message}"
    return f"{name}: {path} = {first['input']!r} is not allowed: {message}"


def _message(error: Any) -> str:
    """Return pydantic's message for an error, rephrased where it refers to tags or Python objects."""
    if error["type"] == "union_tag_invalid":
        return f"there is no kind '{error['ctx']['tag']}'; the kinds are {error['ctx']['expected_tags']}"
    message = _TABLES.get(error["type"], error["msg"]).removeprefix("Value error, ")
    return message if message[:2].isupper() else message[0].lower() + message[1:]


class _Refusing(ModelMetaclass):
    """Turn pydantic's multi-line report into one sentence, at the outermost call only, so that nested fields keep their path."""

    __pydantic_fields__: dict[str, Any]

    def __call__(cls, *args: Any, **fields: Any) -> Any:
        try:
            return super().__call__(*args, **fields)
        except ValidationError as error:
            raise SpecificationError(_sentence(cls, error)) from None


class Specification(BaseModel, metaclass=_Refusing):
    """Base class of the frozen specifications.

    A specification distinguishes the fields that were given (`said`) from those derived from them; `to_dict` returns both. Derived
    fields are computed from the given ones when the specification is created, so a change by `but` never keeps values that
    followed from earlier choices.

    Fields never hold ``None`` (TOML has no null): "without limit" is ``inf``, and each variant is a class of its own,
    distinguished by its ``kind``. Unknown fields are rejected.

    Attributes
    ----------
    identity : str, of the class
        Class attribute: the field that identifies a table. A table without it only changes fields of the present value.
    shorthands : dict of tuples, of the class
        Class attribute: alternative names for fields, each with the paths of the fields that it sets.

    Raises
    ------
    SpecificationError
        In one sentence that names the field, the value and what is allowed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=True, defer_build=True)
    identity: ClassVar[str] = "kind"
    shorthands: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    _annotations: ClassVar[dict[str, tuple[Any, Any]]]
    """Annotations of its own fields: as pydantic has them, and with their validators (see `fields`)."""

    @classmethod
    def opened(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """Return the given fields with names expanded that stand for other fields and need more than `shorthands`."""
        return fields

    @classmethod
    def consequences(cls, said: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of fields that were not given and depend on other fields; see `Specification.said`.

        A specification among the values also completes a table that gives the same kind or none.

        Parameters
        ----------
        said : mapping
            Given fields with shorthands expanded; the values are not validated yet.
        """
        return {}

    @model_validator(mode="wrap")
    @classmethod
    def _filled_in(cls, value: Any, handler: Callable[[Any], Self]) -> Self:
        if not isinstance(value, Mapping):
            return handler(value)
        from analogpc.devices.fields import completes, over, written_out

        said = written_out(cls, value)
        usual = {**_defaults(cls), **cls.consequences(said)}
        filled = {name: what for name, what in usual.items() if name not in said and name not in _defaults(cls)}
        for name, given in said.items():
            filled[name] = _numbers(cls, name, given)
            if name in usual and completes(usual[name], given):
                said[name] = written_out(type(usual[name]), given)
                filled[name] = over(usual[name], given)
        made = handler(filled)
        _forget(made, filled, said)
        return made

    def model_post_init(self, context: Any) -> None:
        """Record the class as given, whether or not its ``kind`` was written."""
        if self.identity == "kind" and "kind" in type(self).model_fields:
            self.__pydantic_fields_set__.add("kind")

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """Build from plain nested dictionaries, such as parsed TOML."""
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            raise SpecificationError(_sentence(cls, error)) from None

    def __eq__(self, other: object) -> bool:
        # Compare fields only: cached values may be arrays.
        if type(self) is not type(other):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in type(self).model_fields)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, given or derived, as plain nested dictionaries, lists and scalars."""
        return self.model_dump(mode="python")

    def said(self) -> dict[str, Any]:
        """Return the given fields as plain nested dictionaries, lists and scalars.

        Specifications that have a short name, such as presets, appear under it. ``from_dict`` rebuilds an equal specification;
        `analogpc.devices.fields.lay` applies changes to the result.

        Examples
        --------
        >>> from analogpc.devices.substrate import Analog
        >>> analog = Analog(device="pcm", mapping={"spare_columns": 2})
        >>> analog.mapping.kind, analog.said()["mapping"]
        ('one-sided-pair', {'spare_columns': 2})
        """
        return {name: _plain(getattr(self, name)) for name in type(self).model_fields if name in self.model_fields_set}

    def short_name(self) -> str:
        """Return the name that stands for this specification in a field of another one; empty if there is none."""
        return ""

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
        """Return TOML text of all fields, given or derived, from which `from_toml` rebuilds an equal specification."""
        return tomli_w.dumps(self.to_dict())

    @classmethod
    def recalled(cls, whole: str, said: str) -> Self:
        """Rebuild a specification from its `to_toml` text ``whole`` and the TOML text ``said`` of its given fields.

        If the present version derives other values from the given fields, all fields count as given and keep their values.
        """
        kept = cls.from_toml(whole)
        try:
            remembered = cls.from_toml(said)
        except SpecificationError:
            return kept
        return remembered if remembered == kept else kept

    def explained(self) -> str:
        """Return TOML text of the given fields, followed by derived fields and defaults as comments."""
        rest = tomli_w.dumps(_rest(self)).splitlines()
        comments = "".join(f"# {line}".rstrip() + "\n" for line in ["This leads to", "", *rest])
        return f"{tomli_w.dumps(self.said())}\n{comments}"

    def but(self, changes: Mapping[str, Any] | None = None, /, **fields: Any) -> Self:
        """Return a validated copy with other given fields; derived fields are recomputed.

        Parameters
        ----------
        changes : mapping of path to value
            Fields, or paths such as "substrate.adc.bits"; see `analogpc.devices.fields.lay`.
        **fields
            Fields and shorthands of this specification.

        Examples
        --------
        >>> from analogpc.devices.substrate import Analog
        >>> Analog(device="reram-wan", rows=64).but(device="reram-sb") == Analog(device="reram-sb", rows=64)
        True
        >>> Analog(device="pcm").but({"adc.bits": 6}).adc.bits
        6.0
        """
        from analogpc.devices.fields import lay

        kept = {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}
        kept = {name: held if _is_whole(held) else held.said() for name, held in kept.items()}
        return type(self).from_dict(lay(type(self), kept, {**(changes or {}), **fields}))


def chosen(value: Any) -> Any:
    """Return a value passed as a choice; a specification whose kind was not given becomes a table of all its fields."""
    return value if _is_whole(value) else value.to_dict()


def table_of(specification: Specification) -> dict[str, Any]:
    """Return the given fields of a specification, or all of them if its kind was not given."""
    return specification.said() if _is_whole(specification) else specification.to_dict()


def _is_whole(value: Any) -> bool:
    """Whether a value identifies itself, by its kind or its identity field."""
    if not isinstance(value, Specification) or value.identity not in type(value).model_fields:
        return True
    return value.identity in value.model_fields_set


def _plain(value: Any) -> Any:
    if isinstance(value, Specification):
        return value.short_name() or value.said()
    return tuple(_plain(item) for item in value) if isinstance(value, tuple) else value


def _rest(specification: Specification) -> dict[str, Any]:
    """Return the fields that were not given as plain nested dictionaries, lists and scalars."""
    whole, rest = specification.to_dict(), {}
    for name in whole:
        value = getattr(specification, name)
        if name not in specification.model_fields_set:
            rest[name] = whole[name]
        elif isinstance(value, Specification) and (within := _rest(value)):
            rest[name] = within
    return rest


def _forget(made: Specification, filled: Mapping[str, Any], said: Mapping[str, Any]) -> None:
    """Mark the fields that were not given as unset in pydantic."""
    for name, value in filled.items():
        if name not in said:
            made.__pydantic_fields_set__.discard(name)
        elif isinstance(value, Mapping) and isinstance(said[name], Mapping) and isinstance(getattr(made, name), Specification):
            _forget(getattr(made, name), value, said[name])


@cache
def _defaults(kind: type[Specification]) -> dict[str, Specification]:
    """Return the fields whose defaults are specifications."""
    fields = kind.model_fields.items()
    return {name: field.default for name, field in fields if isinstance(field.default, Specification)}


class _NoNumber:
    """Placeholder for a value that must not be converted to a number; validation rejects it under its own form."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        return repr(self._value)


def _numbers(kind: type[Specification], name: str, value: Any) -> Any:
    """Return the value of a field, rejecting booleans where numbers are needed (Python would convert them to 0 and 1).

    Integers of more than 64 bits are rejected too: neither files nor kernels can hold them.
    """
    if isinstance(value, (bool, np.bool_)):
        return value if name not in kind.model_fields or _takes_truth(kind, name) else _NoNumber(bool(value))
    if isinstance(value, int) and abs(value) >= 2**64:
        return _NoNumber(value)
    if isinstance(value, (list, tuple)) and any(isinstance(item, (int, np.bool_)) for item in value):
        return [_numbers(kind, name, item) for item in value]
    return value


@cache
def _takes_truth(kind: type[Specification], name: str) -> bool:
    def parts(annotation: Any) -> set[Any]:
        return {annotation} if not get_args(annotation) else set().union(*map(parts, get_args(annotation)))

    annotation = kind.model_fields[name].annotation
    return annotation is bool or any(part is bool or isinstance(part, bool) for part in parts(annotation))
