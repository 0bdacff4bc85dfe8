"""What the parameters of a callable say that they take, read as far as a config file needs it: wrong types are found before the call."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_TOML = (str, bool, int, float, list, dict)  # what a file can hold; objects are left to whoever takes them
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path", NoneType: '"none"'}
_CONTAINERS = {list: "a list", tuple: "a list", Sequence: "a list", dict: "a table", Mapping: "a table", Callable: '"module:function"'}


def parameters_of(target: Callable[..., object]) -> dict[str, inspect.Parameter] | None:
    """Return the named parameters of a callable, annotations evaluated where they can be; None where it takes any name or hides them.

    A dataclass's own settings stand before those that it inherits.
    """
    try:
        parameters = inspect.signature(target).parameters
    except ValueError:  # written in C
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return None
    try:
        hints = get_type_hints(target if is_dataclass(target) or not isinstance(target, type) else target.__init__)  # type: ignore[misc]
    except (NameError, TypeError, AttributeError):  # names that only type checkers import
        hints = {}
    named = {
        name: parameter.replace(annotation=hints.get(name, parameter.annotation))
        for name, parameter in parameters.items()
        if parameter.kind is not parameter.VAR_POSITIONAL
    }
    own = [name for name in vars(target).get("__annotations__", {}) if name in named] if is_dataclass(target) else []
    return {name: named[name] for name in [*own, *(name for name in named if name not in own)]}


def takes_none(hint: object) -> bool:
    """Tell whether None is among what a parameter takes."""
    return any(member in (None, NoneType) for member in _members(hint))


def takes_text_only(hint: object) -> bool:
    """Tell whether a parameter takes text (or paths, numbers, and lists and tables of them), but no object."""
    members = _members(hint)
    return any(_is_text(member) for member in members) and all(_is_text(member) or member in _WORDS for member in members)


def _is_text(hint: object) -> bool:
    if get_origin(hint) in _CONTAINERS:
        return _is_text(_inner(hint))
    return hint in (str, Path) or get_origin(hint) is Literal


def fits(value: object, hint: object) -> bool:
    """Tell whether a value from a config file may be given for a parameter; True in case of doubt, and for objects."""
    if value is not None and not isinstance(value, _TOML):
        return True
    return any(_fits(value, member) for member in _members(hint))


def _fits(value: object, hint: object) -> bool:
    origin = get_origin(hint) or hint
    if hint in (Any, inspect.Parameter.empty):
        return True
    if origin is Literal:
        return value in get_args(hint)
    if hint in (None, NoneType):
        return value is None
    if hint in (int, float):
        return isinstance(value, (int, hint)) and not isinstance(value, bool)
    if hint is Path:
        return isinstance(value, str)
    if origin in (list, tuple, Sequence):
        return isinstance(value, list) and all(fits(entry, _inner(hint)) for entry in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(fits(entry, _inner(hint)) for entry in value.values())
    if origin is Callable:
        return False
    if not isinstance(hint, type) or hint.__module__.partition(".")[0] == "numpy":  # arrays are made from lists
        return True
    try:
        return isinstance(value, hint)
    except TypeError:  # a protocol that cannot be asked
        return True


def _inner(hint: object) -> object:
    """Return what a container holds: the values of a mapping, the entries of a sequence."""
    arguments = [argument for argument in get_args(hint) if argument is not Ellipsis]
    return arguments[-1] if arguments else Any


def spell(hint: object) -> str:
    """Say in words what a parameter takes."""
    return " or ".join(dict.fromkeys(_spell(member) for member in _members(hint)))


def _spell(hint: object) -> str:
    if get_origin(hint) is Literal:
        return " or ".join(repr(choice) for choice in get_args(hint))
    words: dict[Any, str] = {**_WORDS, **_CONTAINERS}
    name = getattr(hint, "__name__", str(hint))
    return words.get(get_origin(hint) or hint, f"{name} (a table with type)")


def _members(hint: object) -> tuple[object, ...]:
    """Return the members of a union; the hint itself where it is none."""
    if get_origin(hint) in (Union, UnionType):
        return tuple(member for inner in get_args(hint) for member in _members(inner))
    return (hint,)
