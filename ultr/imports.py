"""Find the object behind "module:name", or say what is missing and what has a similar name."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
import traceback
from collections.abc import Iterable
from types import ModuleType

from ultr.errors import ConfigError

_DOTTED = r"[^\W\d]\w*(?:\.[^\W\d]\w*)*"
OBJECT = re.compile(f"({_DOTTED}):({_DOTTED})")  # "module:name", both dotted identifiers; a path or a sentence is not


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest known name, else the first that it abbreviates, or an empty string."""
    name, known = str(name), list(known)
    longer = [other for other in known if len(name) > 2 and other.startswith(name)]
    match = difflib.get_close_matches(name, known, n=1, cutoff=0.6) or longer
    return f" Did you mean {match[0]!r}?" if match else ""


def find_object(spelling: object, where: str) -> object:
    """Import what "module:name" names; the name may be dotted ("ultr:ParquetLog.open").

    Raises:
        ConfigError: it is not of this form, the module is missing or fails when imported, or it lacks the name.
    """
    match = OBJECT.fullmatch(spelling) if isinstance(spelling, str) else None
    if match is None:
        raise ConfigError(f'[{where}] type must be "module:name", such as "ultr.estimators:DLA", not {spelling!r}.')
    module_name, dotted = match.groups()
    found: object = _module(module_name, where)
    spelled = module_name
    for name in dotted.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise ConfigError(f"[{where}] {spelled}{_place(found)} has no {name!r}.{_instead(name, found)}") from error
        spelled = f"{spelled}:{name}" if spelled == module_name else f"{spelled}.{name}"
    return found


def _module(name: str, where: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(f"[{where}] module {name!r} cannot be imported: it needs {error.name!r}, which is missing.") from error
        raise ConfigError(
            f"[{where}] There is no module {name!r}, neither installed, nor beside the config, nor in the working directory."
            f"{_other_module(name)}"
        ) from error
    except Exception as error:  # whatever a user's module does when it is run
        raise ConfigError(f"[{where}] module {name!r} cannot be imported: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    """Name an error and the line that it came from."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{last.filename}, line {last.lineno}: {type(error).__name__}: {error}"


def _place(found: object) -> str:
    """Say where a module lies: a name that an installed module has too leads to that one."""
    file = getattr(found, "__file__", None) if isinstance(found, ModuleType) else None
    return "" if file is None or getattr(found, "__name__", "").partition(".")[0] in ("ultr", "simulators") else f" ({file})"


def _instead(name: str, found: object) -> str:
    public = [other for other in dir(found) if not other.startswith("_")]
    suggestion = nearest(name, public)
    return f"{suggestion} It has: {', '.join(public)}." if len(public) <= 20 else suggestion


def _other_module(name: str) -> str:
    """Suggest a module with a similar name: a sibling in the same package, or one at the top of the search path."""
    package, _, last = name.rpartition(".")
    if package:
        try:
            parent = importlib.import_module(package)
        except ImportError:
            return _other_module(package)
        match = difflib.get_close_matches(last, dir(parent), n=1)
        return f" Did you mean {f'{package}.{match[0]}'!r}?" if match else ""
    return nearest(name, ["ultr", "simulators", *(module.name for module in pkgutil.iter_modules())])
