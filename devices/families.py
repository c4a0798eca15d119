"""Families of specifications that anyone can extend: rules, blocks, architectures, responses, schemes and mappings.

A family is a contract (a subclass of `Member` that sets ``family_name``). A class derived from it with a ``kind`` of its own belongs to
the family as soon as its module is imported: studies, files and the command line then know it by that kind. So a new member is one new
file and nothing else; the modules of the family's own package are imported by `import_members`.

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
    """Base class of the contracts of extensible families.

    Attributes
    ----------
    family_name : str, of the class
        What a member is called in messages. The class that sets it is the contract of a new family.
    kind : str
        By which a member is known. A class without a default for it is abstract.

    Raises
    ------
    TypeError
        When a class is defined with a kind that another class of the family has.
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
        """The members of the family that are derived from this class, by kind, in the order of their definition."""
        return {kind: member for kind, member in cls._registered.items() if issubclass(member, cls)}


def same_definition(one: type, other: type) -> bool:
    """Whether two classes come from the same place in the same module, which may have been run twice."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)


@dataclass(frozen=True)
class _OfFamily:
    """The validator of a field that holds any member of a family."""

    contract: type[Member]
    validator: Callable[[Any], Any]

    def __call__(self, value: Any) -> Any:
        return self.validator(value)


def family_of(validator: Any) -> type[Member] | None:
    """The family whose members a validator takes, if `by_kind` made it."""
    return validator.contract if isinstance(validator, _OfFamily) else None


def by_kind(contract: type[Member]) -> Callable[[Any], Any]:
    """A validator for a field that holds any member of a family: fields with their ``kind`` become the member.

    Parameters
    ----------
    contract : subclass of Member

    Raises
    ------
    ValueError
        (the validator) If there is no member of that kind; the sentence lists those there are.
    """

    def validator(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        kinds, kind = contract.kinds(), value.get("kind")
        if kind is None:
            raise ValueError(f"the table must say its kind, one of {', '.join(kinds)}")
        if kind not in kinds:
            raise ValueError(
                f"{unknown(f'{contract.family_name} of the kind', kind, kinds, 'kinds')}, and those of modules yet to be imported"
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
