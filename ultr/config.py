"""Strict TOML: tables become objects by their import path, and whatever does not fit is named, with its place and what would fit.

A table with `type = "module:name"` is called with its other keys. A string "module:name" is that object itself, unless the setting takes
text only. A table whose `type` is a function of which just the first argument is missing (a propensity model's batch) stands for that
function with the other keys bound. `{from = 10, to = 20}` is the whole numbers from 10 to 20, and "none" is None where a setting may be
None. Modules are found beside the config and in the working directory. So a config runs code: open only those that you trust.
"""

from __future__ import annotations

import inspect
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, cast

from ultr.errors import ConfigError, FileError, UltrError
from ultr.hints import fits, parameters_of, spell, takes_none, takes_text_only
from ultr.imports import OBJECT, find_object, nearest

SECTIONS = ("data", "test", "simulate", "credit", "estimator", "estimators", "metrics", "run")
_NAMED = ("estimators", "metrics", "credit")  # sections of tables that users name


@dataclass(frozen=True, kw_only=True)
class Run:
    """The section [run].

    Args:
        seeds: How many, or which.
        baseline: The estimator that others are compared with; the first when None.
        workers: Processes; as many as processors when None.
        clicks: "vary" draws policy and clicks anew for every seed, "fixed" draws them once.
        test: Share of the queries of [data], a graded set, that are held out for testing, in (0, 1).
        judge_logged: Whether the training queries are judged as well, all their items reranked and judged by grades.
        out: Where results go.
        scheduler: Address of a Dask scheduler whose workers run a comparison, "tcp://host:8786"; processes of this machine when None.
    """

    seeds: int | Sequence[int] = 5
    baseline: str | None = None
    workers: int | None = None
    clicks: Literal["vary", "fixed"] = "vary"
    test: float | None = None
    judge_logged: bool = False
    out: str | None = None
    scheduler: str | None = None

    def __post_init__(self) -> None:
        for name in ("seeds", "workers"):
            value = getattr(self, name)
            if isinstance(value, int) and value < 1:
                raise ConfigError(f"{name} must be at least 1, not {value}.")
        if not isinstance(self.seeds, int) and (not self.seeds or not all(type(seed) is int and seed >= 0 for seed in self.seeds)):
            raise ConfigError(f"seeds must be one or more whole numbers of at least 0, or how many, not {self.seeds!r}.")
        if self.test is not None and not 0 < self.test < 1:
            raise ConfigError(f"test is a share of the queries in (0, 1), not {self.test!r}.")

    @property
    def seed_list(self) -> Sequence[int]:
        """The seeds: 0 to n - 1 where a number of them is given."""
        return range(self.seeds) if isinstance(self.seeds, int) else self.seeds


@dataclass(frozen=True)
class Config:
    """A config file that has been read; its parts are built when asked for.

    Args:
        path: The file.
        sections: Name -> table, as in the file.
    """

    path: Path
    sections: Mapping[str, Mapping[str, object]] = field(repr=False)

    def __contains__(self, section: str) -> bool:
        return section in self.sections

    def table(self, section: str, needed_by: str) -> Mapping[str, object]:
        """Return a section as it stands in the file, or raise ConfigError saying who needs it."""
        if section not in self.sections:
            have = ", ".join(f"[{name}]" for name in self.sections) or "nothing"
            raise ConfigError(f"{needed_by} needs the section [{section}], which {self.path} lacks. It has: {have}.")
        return self.sections[section]

    def named(self, section: str) -> dict[str, object]:
        """Build every table of [estimators], [metrics] or [credit]: name -> object."""
        tables = self.sections.get(section, {})
        return {name: build(table, f"{section}.{name}", call=section == "estimators") for name, table in tables.items()}

    def run(self) -> Run:
        """Build [run]."""
        return cast(Run, _called(Run, self.sections.get("run", {}), "run", call=True))


def read_config(path: str | Path) -> Config:
    """Read a config file and check its outline; what its tables stand for is built later.

    From here on modules beside the file and in the working directory can be imported, in worker processes too.

    Args:
        path: A TOML file with the sections [data], [test], [simulate], [credit], [estimator] or [estimators.NAME], [metrics.NAME], [run].

    Raises:
        FileError: the file is missing.
        ConfigError: it is no TOML (the message names line and column), or has a section or shape that no command understands.
    """
    path = Path(path)
    try:
        sections = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        beside = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise FileError(f"There is no config {path}.{nearest(path.name, beside)} Check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        what = "it is a folder" if isinstance(error, IsADirectoryError) else str(error)
        raise ConfigError(f"{path} is no valid TOML: {what}.") from error
    for name, table in sections.items():
        _check_section(path, name, table)
    for folder in (path.absolute().parent, Path.cwd()):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))  # last: a module of the user never hides an installed one
    return Config(path, sections)


def _check_section(path: Path, name: str, table: object) -> None:
    if name not in SECTIONS:
        kind = f"section [{name}]" if isinstance(table, dict) else f"key {name!r} outside of any section"
        raise ConfigError(f"{path} has the unknown {kind}.{nearest(name, SECTIONS)} Sections: {', '.join(SECTIONS)}.")
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {name} must be a section, [{name}], not {table!r}.")
    loose = [key for key, value in table.items() if not isinstance(value, dict)] if name in _NAMED else []
    if loose:
        raise ConfigError(f"[{name}] holds tables only, but {loose[0]!r} is none: write [{name}.NAME] with a name of your choice above it.")


def build(value: object, where: str, call: bool = False) -> object:
    """Return what a TOML value stands for.

    Args:
        value: A table, list, string, number, ...
        where: Its place in the file, for messages: "estimators.ips".
        call: Whether a table must be called: with its first argument missing it is an error, and no function with the rest bound.

    Raises:
        UltrError: what is named does not exist, or cannot be made from these settings; the message begins with the place.
    """
    if call and not (isinstance(value, dict) and "type" in value):
        raise ConfigError(f'[{where}] needs type = "module:name": what is to be called with the other keys.')
    return _build(value, where, inspect.Parameter.empty, call)


def _called(target: object, settings: Mapping[str, object], where: str, call: bool) -> object:
    """Call a class or function with the settings of a table, or bind them."""
    name = getattr(target, "__name__", repr(target))
    head = f"[{where}]" if name.lower() == where else f"[{where}] {name}"
    if not callable(target):
        raise ConfigError(f"[{where}] type names {target!r}, which cannot be called: name a class or a function.")
    parameters = parameters_of(target)
    arguments = {}
    for key, value in settings.items():
        if parameters is not None and key not in parameters:
            raise ConfigError(f"{head} has no setting {key!r}.{nearest(key, parameters)} Settings: {', '.join(parameters)}.")
        arguments[key] = _argument(key, value, where, head, None if parameters is None else parameters[key])
    missing = [key for key, p in (parameters or {}).items() if p.default is p.empty and key not in arguments]
    if missing and inspect.isroutine(target) and not call and missing[0] == next(iter(parameters or {})):
        if len(missing) == 1:
            return partial(target, **arguments) if arguments else target
        del missing[0]  # that one is not for the config to give
    if missing:
        raise ConfigError(f"{head} needs the setting{'s' if len(missing) > 1 else ''} {', '.join(missing)}.")
    return _result(target, arguments, where, head)


def _result(target: Callable[..., object], arguments: Mapping[str, object], where: str, head: str) -> object:
    try:
        return target(**arguments)
    except UltrError as error:
        raise type(error)(f"[{where}] {error}") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{head}: {error}") from error


def _argument(key: str, value: object, where: str, head: str, parameter: inspect.Parameter | None) -> object:
    """Build one setting and compare it with what its parameter says it takes."""
    hint = inspect.Parameter.empty if parameter is None else parameter.annotation
    if value == "none" and takes_none(hint):
        return None
    built = _build(value, f"{where}.{key}", hint, False)
    if not fits(built, hint):
        raise ConfigError(f"{head}: {key} must be {spell(hint)}, not {value!r}.")
    return built


def _build(value: object, where: str, hint: object, call: bool) -> object:
    inner = str if takes_text_only(hint) else inspect.Parameter.empty
    if isinstance(value, list):
        return [_build(entry, f"{where}.{i}", inner, False) for i, entry in enumerate(value)]
    if isinstance(value, str):
        return find_object(value, where) if OBJECT.fullmatch(value) and not takes_text_only(hint) else value
    if not isinstance(value, dict):
        return value
    if "type" in value and not takes_text_only(hint):
        settings = {key: entry for key, entry in value.items() if key != "type"}
        return _called(find_object(value["type"], where), settings, where, call)
    if value.keys() == {"from", "to"} and all(type(bound) is int for bound in value.values()):
        if value["to"] < value["from"]:
            raise ConfigError(f"[{where}] runs from {value['from']} to {value['to']}: nothing lies between them.")
        return range(value["from"], value["to"] + 1)
    return {key: _build(entry, f"{where}.{key}", inner, False) for key, entry in value.items()}
