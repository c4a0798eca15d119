"""Changes of given fields: the only implementation of overrides of a specification.

A specification holds choices. Command-line options, ``--set``, `Specification.but`, study files, resumed runs and the axes of a sweep
all change choices, and all use `lay`. Values derived from the choices (a mapping for a device, an optimiser for a scheme, a network for
a data set) are not among the fields that `lay` takes or returns: the specification derives them when it is created from the fields
(see `Specification.consequences`), so they always follow from the *final* choices.

Rules for changes:

=================================  =================================================================================================
``{"substrate.rows": 64}``         A path ends in one field: only that field changes.
``{"substrate": "pcm"}``           A short name, a specification or a table with its ``kind`` (a device: with its ``name``) replaces
                                   the whole former value.
``{"optimiser": "sgd"}``           The same holds for the name of a kind: it stands for a table with that ``kind``.
``{"substrate.device": "pcm"}``    The same for the device only: the other fields of the substrate stay.
``{"mapping": {"headroom": 1.5}}`` A table without ``kind`` changes only the fields that it names.
``{"rule.steps": 8}``              A path into a short name, such as rule = "s+f", expands it: its fields are written out first.
``{"network.blocks.0.bias": ...}`` A number is the index of a list.
``{"scheme.kind": "tiki-taka"}``   Another kind keeps the given fields that it has, too; it is rejected if it lacks one.
=================================  =================================================================================================

All changes of one call are applied together: a path is applied after its prefixes, and otherwise their order does not matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from analogpc.devices.families import Member, family_of
from analogpc.devices.specification import Specification, SpecificationError, chosen, table_of

Path = tuple[str, ...]
Kind = type[Specification]
Changes = list[tuple[Path, Any]]


def lay(kind: type[Specification], fields: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Apply changes to the fields of a specification.

    Derived fields are not filled in and values are not validated; ``kind.from_dict`` does both with the result.

    Parameters
    ----------
    kind : subclass of Specification
        Specification that has the fields; it defines which names are shorthands.
    fields : mapping
        Given fields: nested tables as in a TOML file, which may contain short names, Python values and whole specifications.
        `Specification.said` returns those of a specification. Not modified.
    changes : mapping of path to value
        A path is a field, or several joined by dots, such as "substrate.adc.bits".

    Returns
    -------
    dict
        The changed fields, with shorthands such as ``adc_bits`` expanded.

    Raises
    ------
    SpecificationError
        If a path enters a value without fields, a short name is not known, a field is given two values, or the new kind lacks a
        field that was given.

    Examples
    --------
    >>> from analogpc.devices.substrate import Analog
    >>> said = lay(Analog, {"device": "reram-wan", "rows": 64}, {"device": "reram-sb", "adc_bits": 6})
    >>> said
    {'device': 'reram-sb', 'rows': 64, 'adc': {'bits': 6}}
    >>> Analog.from_dict(said).scheme.kind
    'stochastic-pulses'
    """
    return _laid(kind, written_out(kind, fields), [(tuple(path.split(".")), value) for path, value in changes.items()], ())


def written_out(kind: type[Specification], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same fields with all shorthands expanded; see `lay`."""
    return _laid(kind, {}, [((name,), value) for name, value in fields.items()], ())


def completes(usual: Any, given: Any) -> bool:
    """Whether ``given`` is a table that only changes the default ``usual``: it gives the same kind, or none."""
    if not isinstance(given, Mapping) or not isinstance(usual, Specification):
        return False
    kind = type(usual)
    named = given.get(kind.identity, getattr(usual, kind.identity, None))
    return named == getattr(usual, kind.identity, None) and all(_knows(kind, name) for name in given)


def over(usual: Specification, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of ``usual``, overridden by those of ``given``."""
    return _laid(type(usual), table_of(usual), [((name,), value) for name, value in given.items()], ())


def field_path(kind: type[Specification], location: Sequence[Any]) -> str:
    """Return the dotted path of a pydantic error, without the tags of unions between the names of fields."""
    path: list[str] = []
    members: list[Kind] = [kind]
    entries: list[Kind] = []
    for part in location:
        if isinstance(part, int) or any(_knows(member, part) for member in members):
            path.append(str(part))
            if not isinstance(part, int):
                annotations = [_annotation(member, part) for member in members]
                members = [found for one in annotations for found in _members(one)]
                # Entries of a table with arbitrary names.
                tables = [inner for one in annotations for inner in _parts(one) if get_origin(inner) is dict]
                entries = [found for table in tables for found in _members(get_args(table)[1])]
        elif entries:
            path.append(part)
            members, entries = entries, []
        elif tagged := [member for member in members if _default_identity(member) == part]:
            members = tagged
        elif members and "[" not in part:
            path.append(part)
            members = []
    return _dotted(tuple(path))


def _laid(kind: Kind | None, fields: Mapping[str, Any], changes: Changes, place: Path) -> dict[str, Any]:
    """Return ``fields`` with ``changes`` applied; ``place`` is their path, for messages."""
    laid = dict(fields)
    for name, (whole, inside) in _by_first(_expanded(kind, changes, place), place).items():
        annotation = _annotation(kind, name)
        for value in whole:
            if isinstance(value, str) and value in _kinds(annotation):
                laid[name] = {"kind": value}
            elif not (isinstance(value, Mapping) and _members(annotation)):
                laid[name] = chosen(value)
            elif value:
                laid[name], inside = {}, [*(((part,), one) for part, one in value.items()), *inside]
            else:
                laid.setdefault(name, {})
        if inside:
            laid[name] = _entered(annotation, laid.get(name, {}), inside, (*place, name))
    return laid


def _expanded(kind: Kind | None, changes: Changes, place: Path) -> Iterator[tuple[Path, Any]]:
    """Yield the changes with shorthands, and tables without a kind, written as paths."""
    if kind is None:
        yield from changes
        return
    groups = _by_first(changes, place)
    single = kind.opened({name: value for name, (whole, _) in groups.items() for value in whole})
    inner = [((name, *path), value) for name, (_, inside) in groups.items() for path, value in inside]
    for path, value in [*(((name,), value) for name, value in single.items()), *inner]:
        targets = kind.shorthands.get(path[0], ()) if len(path) == 1 else ()
        for target in [tuple(target.split(".")) for target in targets] or [path]:
            if len(target) == 1 and isinstance(value, Mapping) and value and _partial(_annotation(kind, target[0]), value):
                yield from (((*target, str(part)), one) for part, one in value.items())
            else:
                yield target, value


def _by_first(changes: Iterable[tuple[Path, Any]], place: Path) -> dict[str, tuple[list[Any], Changes]]:
    """Return, for every field, the value that replaces it, if any, and the changes by paths inside it."""
    groups: dict[str, tuple[list[Any], Changes]] = {}
    for path, value in changes:
        whole, inside = groups.setdefault(path[0], ([], []))
        if len(path) > 1:
            inside.append((path[1:], value))
        elif not whole:
            whole.append(value)
        elif type(whole[0]) is not type(value) or whole[0] != value:
            raise SpecificationError(f"{_dotted((*place, path[0]))} is given two values, {whole[0]!r} and {value!r}; give one")
    return groups


def _entered(annotation: Any, held: Any, inside: Changes, place: Path) -> Any:
    """Return the value of a field with changes by paths inside it applied."""
    if isinstance(held, str):
        held = _opened(annotation, held, place)
    if isinstance(held, (list, tuple)):
        return _items(annotation, held, inside, place)
    if isinstance(held, Specification):
        held = table_of(held)
    if not isinstance(held, Mapping):
        raise SpecificationError(f"{_dotted(place)} = {held!r} has no field '{inside[0][0][0]}'")
    members, names = _members(annotation), [path[0] for path, _ in inside]
    before = _member(members, held, ())
    if before is not None and held:
        held = written_out(before, held)
    given = {path[0]: value for path, value in inside if len(path) == 1}
    identities = {kind.identity for kind in members}
    after = _member(members, {**held, **{name: given[name] for name in identities if name in given}}, names)
    left = [name for name in held if after is not None and not _knows(after, name)]
    if after is not None and after is not before and left and after.identity in given:
        raise SpecificationError(_left_over(after, given[after.identity], left, place))
    return _laid(after, held, inside, place)


def _left_over(kind: Kind, named: Any, left: Sequence[str], place: Path) -> str:
    """Return the message for a new kind that lacks fields that were given for the previous one."""
    return (
        f"{_dotted((*place, kind.identity))} = {named!r} is not compatible with the fields given before: it has no field "
        f'{", ".join(left)}; to begin anew, set {_dotted(place)} = {{{kind.identity} = "{named}"}}'
    )


def _items(annotation: Any, held: Sequence[Any], inside: Changes, place: Path) -> list[Any]:
    """Return a list with changes applied whose paths begin with the index of an entry."""
    kept = list(held)
    for name, (whole, deeper) in _by_first(iter(inside), place).items():
        if not name.isdecimal() or int(name) >= len(kept):
            raise SpecificationError(f"{_dotted(place)} has entries 0 to {len(kept) - 1}, not '{name}'")
        for value in whole:
            kept[int(name)] = value
        if deeper:
            kept[int(name)] = _entered(annotation, kept[int(name)], deeper, (*place, name))
    return kept


def _opened(annotation: Any, name: str, place: Path) -> dict[str, Any]:
    """Return the fields of the specification that a short name stands for."""
    try:
        made = TypeAdapter(annotation).validate_python(name)
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise SpecificationError(f"{_dotted(place)} = {name!r} is not allowed: {reason}") from None
    if not isinstance(made, Specification):
        raise SpecificationError(f"{_dotted(place)} = {name!r} has no fields to change")
    return table_of(made)


def _partial(annotation: Any, table: Mapping[str, Any]) -> bool:
    """Whether a table gives neither kind nor identity, so that it only changes fields of the present value."""
    members = _members(annotation)
    return bool(members) and not any(kind.identity in table for kind in members)


def _member(members: Sequence[Kind], table: Mapping[str, Any], names: Sequence[str]) -> Kind | None:
    """Return the kind that the fields of a table, and the ``names`` applied next, belong to; None if it is ambiguous."""
    for kind in members:
        if kind.identity in table and _default_identity(kind) == table[kind.identity]:
            return kind
    knowing = [kind for kind in members if all(_knows(kind, name) for name in (*table, *names))]
    return knowing[0] if knowing else members[0] if len(members) == 1 else None


def _knows(kind: Kind, name: str) -> bool:
    return name in kind.model_fields or name in kind.shorthands


def _default_identity(kind: Kind) -> Any:
    field = kind.model_fields.get(kind.identity)
    return field.default if field is not None else None


def _annotation(kind: Kind | None, name: str) -> Any:
    """Return the full annotation of a field, including the validators that resolve short names."""
    if kind is None or name not in kind.model_fields:
        return Any
    field = kind.model_fields[name]
    # Kept in the class, with which it is forgotten; pydantic may resolve an annotation later, and then replaces it.
    kept = kind.__dict__.get("_annotations")
    if kept is None:
        kept = kind._annotations = {}
    if name not in kept or kept[name][0] is not field.annotation:
        tagged = [Field(discriminator=field.discriminator)] if field.discriminator else []
        annotation: Any = field.annotation
        for more in [*tagged, *field.metadata]:
            annotation = Annotated[annotation, more]
        kept[name] = field.annotation, annotation
    return kept[name][1]


def _members(annotation: Any) -> list[Kind]:
    """Return the specifications that a field may hold, with all their subclasses."""
    found: dict[Kind, None] = {}
    for part in _parts(annotation):
        if isinstance(part, type) and issubclass(part, Member):
            found.update(dict.fromkeys(part.kinds().values()))
        elif isinstance(part, type) and issubclass(part, Specification):
            found.update(dict.fromkeys(_derived(part)))
    return list(found)


def _kinds(annotation: Any) -> list[str]:
    """Return the kinds that a field distinguishes, each of which is also a short name; empty if other short names are used."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        families = [family_of(one.func) for one in parts[1:] if isinstance(one, BeforeValidator)]
        if not families:
            return _kinds(parts[0])
        return [] if None in families else [kind for family in families if family for kind in family.kinds()]
    if origin in (Union, UnionType):
        return [kind for part in parts for kind in _kinds(part)]
    found = isinstance(annotation, type) and issubclass(annotation, Specification) and annotation.identity == "kind"
    return [kind for one in _derived(annotation) if isinstance(kind := _default_identity(one), str)] if found else []


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def _derived(kind: Kind) -> Iterator[Kind]:
    yield kind
    for below in kind.__subclasses__():
        yield from _derived(below)


def _dotted(place: Path) -> str:
    return ".".join(place)
