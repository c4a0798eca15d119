"""Extensible families of specifications: rules, blocks, architectures, responses, schemes and mappings.

A family is a base class (a subclass of `Member` that sets ``family_name``). A subclass with its own ``kind`` joins the family when its
module is imported: studies, files and the command line then accept that kind. A new member is therefore one new file; the modules of
the family's own package are imported by `import_members`.

Examples
--------
>>> from typing import ClassVar, Literal
>>> class Shape(Member):
...     family_name: ClassVar[str] = "shape"
>>> class Square(Shape):
...     kind: Literal["square"] = "square"
...     side: float = 1.0
>>> list(Shape.kinds())
['square']
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import walk_packages
from typing import Any, ClassVar, Self

from typing_extensions import override

from analogpc.devices.names import unknown
from analogpc.devices.specification import Specification


class Member(Specification):
    """Base class of extensible families.

    Attributes
    ----------
    family_name : str, of the class
        Name of the members in messages. The class that sets it is the base of a new family.
    kind : str
        Identifier of a member. A class without a default for it is abstract.

    Raises
    ------
    TypeError
        When a class is defined with a kind that another class of the family already has.
    """

    family_name: ClassVar[str] = ""
    _registered: ClassVar[dict[str, type[Any]]] = {}
    kind: str

    @override
    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "family_name" in cls.__dict__:
            cls._registered = {}
            return
        kind = cls.model_fields["kind"].default
        if isinstance(kind, str):
            other = cls._registered.get(kind)
            if other is not None and not same_definition(other, cls):
                raise TypeError(f"{cls.__qualname__}: there is another {cls.family_name} of the kind '{kind}'")
            cls._registered[kind] = cls

    @classmethod
    def kinds(cls) -> dict[str, type[Self]]:
        """Return the members derived from this class, by kind, in the order of definition."""
        return {kind: member for kind, member in cls._registered.items() if issubclass(member, cls)}


def same_definition(one: type, other: type) -> bool:
    """Whether two classes come from the same definition in the same module, which may have been run twice."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


@dataclass(frozen=True)
class _OfFamily:
    """Validator of a field that accepts any member of a family."""

    contract: type[Member]
    validator: Callable[[Any], Any]

    def __call__(self, value: Any) -> Any:
        return self.validator(value)


def family_of(validator: Any) -> type[Member] | None:
    """Return the family that a validator made by `by_kind` accepts, otherwise None."""
    return validator.contract if isinstance(validator, _OfFamily) else None


def by_kind(contract: type[Member]) -> Callable[[Any], Any]:
    """Return a validator for a field that holds any member of a family: a table with its ``kind`` becomes the member.

    Parameters
    ----------
    contract : subclass of Member

    Raises
    ------
    ValueError
        (from the validator) If there is no member of that kind; the message lists the known kinds.
    """

    def validator(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        kinds, kind = contract.kinds(), value.get("kind")
        if kind is None:
            raise ValueError(f"the table must give its kind, one of {', '.join(kinds)}")
        if not isinstance(kind, str) or kind not in kinds:
            raise ValueError(
                f"{unknown(f'{contract.family_name} of the kind', kind, kinds, 'kinds')}, and those of modules not yet imported"
            )
        return kinds[kind].model_validate(value)

    return _OfFamily(contract, validator)


def import_members(path: Iterable[str], package: str) -> None:
    """Import all modules of a package, so that the members that they define are registered.

    Parameters
    ----------
    path : iterable of str
        The ``__path__`` of the package.
    package : str
        Its ``__name__``.
    """
    for module in walk_packages(path, f"{package}."):
        import_module(module.name)
