"""Open what [data] and [test] name: look their files up, and tell graded sets from click logs."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from ultr.config import Config, build
from ultr.data.folder import is_log
from ultr.data.log import ClickLog
from ultr.data.parquet import ParquetLog
from ultr.data.ranking import RankingData
from ultr.data.source import LogSource, gather
from ultr.errors import ConfigError, FileError

Data = RankingData | LogSource

PATHS = ("path", "group_path", "skeleton", "common_features", "vocabularies")  # settings of a reader that are looked up
ABOUT = "about"  # a setting for people: what the files are and where they come from; quoted when they are missing


def open_data(config: Config, place: Path | None = None, needed_by: str = "This") -> Data:
    """Build [data].

    Args:
        config: The config.
        place: What --data gave: a folder, or the file itself.
        needed_by: Who needs it, for messages.

    Raises:
        FileError: a file is missing; the message says what to put where.
        UltrError: what the reader refuses.
    """
    return _open(config, "data", needed_by, place)


def open_test(config: Config, place: Path | None = None) -> Data:
    """Build [test]; where --data gave a file, its folder is looked in."""
    return _open(config, "test", "Testing", place.parent if place is not None and not place.is_dir() else place)


def open_log(path: Path) -> LogSource:
    """Open a log folder, or what the [data] of a config names; a graded set counts as a log without clicks."""
    if path.suffix == ".toml":
        from ultr.config import read_config

        return as_log(open_data(read_config(path), needed_by="A config in place of a log"))
    if path.is_file():
        raise FileError(
            f'{path} is a file; a log is a folder. For a table write a config with [data] type = "ultr:read_table", path and columns, and'
            " give that, or make a log of it with `ultr import`."
        )
    return ParquetLog.open(path)


def as_log(data: Data) -> LogSource:
    """Return a log as it is, and a graded set as one page a query."""
    return data.as_log() if isinstance(data, RankingData) else data


def first_chunk(source: LogSource) -> ClickLog:
    """Return the first piece of a log: its columns are those of all pieces."""
    return next(iter(source.chunks()))


def settings_of(config: Config, section: str, needed_by: str, place: Path | None) -> dict[str, object]:
    """Return the settings of [data] or [test], with the paths looked up.

    Raises:
        FileError: a file is missing; the message says what to put where.
        ConfigError: the section is missing, or --data has no effect.
    """
    if place is not None and not place.exists():
        raise FileError(f"--data {place}: there is nothing at this path. Give the folder that holds the data, or the file itself.")
    table = config.table(section, needed_by)
    settings = {key: value for key, value in table.items() if key != ABOUT}
    if place is not None and section == "data" and not set(PATHS) & settings.keys():
        raise ConfigError(f"--data {place} has no effect: [data] has no setting path, so it reads no file.")
    for key in PATHS:
        if key in settings:
            names = _candidates(settings[key], f"[{section}] {key}")
            settings[key] = str(_find(names, section, key, _folders(config, place), str(table.get(ABOUT, ""))))
    return settings


def _open(config: Config, section: str, needed_by: str, place: Path | None) -> Data:
    settings = settings_of(config, section, needed_by, place)
    data = build(settings, section, call=True)
    if not isinstance(data, (RankingData, LogSource)):
        raise ConfigError(
            f"[{section}] {settings['type']} gave {type(data).__name__}, which is neither a graded set (RankingData) nor a log."
        )
    return _credited(config, data, section) if "credit" in config else data


def _credited(config: Config, data: Data, section: str) -> ClickLog:
    """Add a column for every attribution rule of [credit]: the credit that it gives each touch."""
    from ultr.attribution.rule import AttributionRule

    if isinstance(data, RankingData):
        raise ConfigError(f"[credit] shares conversions among touches, but [{section}] is a graded set: leave [credit] out.")
    log, rules = gather(data), config.named("credit")
    for name, rule in rules.items():
        if not isinstance(rule, AttributionRule):
            raise ConfigError(f'[credit.{name}] {type(rule).__name__} is no attribution rule: type = "ultr.attribution:LastTouch".')
        if name in log.columns:
            raise ConfigError(f"[credit.{name}] the log of [{section}] has a column {name!r} already: choose another name.")
    return log.with_columns(**{name: cast(AttributionRule, rule).credit(log) for name, rule in rules.items()})


def _candidates(value: object, what: str) -> Sequence[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{what} must be a file name, or a list of names of which the first that is there is read, not {value!r}.")
    return names


def _folders(config: Config, place: Path | None) -> Sequence[Path]:
    """Where relative paths are looked up: under --data, or beside the config and in the working directory."""
    if place is not None:
        return [place]
    return list(dict.fromkeys([config.path.absolute().parent, Path.cwd()]))


def _find(names: Sequence[str], section: str, key: str, folders: Sequence[Path], about: str) -> Path:
    """Return the first candidate that is there, in any folder; --data may also be the file, or the log folder, itself."""
    if key == "path" and (folders[0].is_file() or is_log(folders[0])):
        return folders[0]
    folders = [folder.parent if folder.is_file() else folder for folder in folders]
    for path in (folder / name for name in names for folder in folders):
        if path.exists() or Path(f"{path}.gz").exists() or (glob.has_magic(str(path)) and glob.glob(str(path))):
            return path
    listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    raise FileError(
        f"[{section}] There is no {listed} (nor the same with .gz) in {' or '.join(map(str, folders))}. Put the data there, or say where it"
        f" lies with --data PATH, the folder or the file.{f' {about}' if about else ''}"
    )
