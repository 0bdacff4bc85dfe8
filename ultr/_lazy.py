"""Attributes that load their module on first use, so that `import ultr` stays light (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping


def attach(
    package: str, members: Mapping[str, str], rooms: tuple[str, ...] = ()
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Make `__getattr__`, `__dir__` and `__all__` of a package whose parts load when first used.

    Args:
        package: The package's `__name__`.
        members: Public name -> module that defines it, relative to the package ("data.log").
        rooms: Sub-packages and modules that are attributes themselves.

    Returns:
        `__getattr__`, `__dir__` and the sorted list of public names.
    """

    def __getattr__(name: str) -> object:
        if name in members:
            return getattr(importlib.import_module(f"{package}.{members[name]}"), name)
        if name in rooms:
            return importlib.import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}. It has: {', '.join(names)}.")

    names = sorted([*members, *rooms])
    return __getattr__, lambda: names, names
