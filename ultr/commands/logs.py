"""`ultr import`: a user's own table as a log folder; and the writing of log folders."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ultr.commands.describe import describe_log
from ultr.commands.sources import as_log, open_data, settings_of
from ultr.config import Config, build
from ultr.data.folder import is_log
from ultr.data.parquet import ParquetLog
from ultr.data.source import LogSource
from ultr.data.table import read_table
from ultr.data.writer import write_log
from ultr.errors import ConfigError, FileError, UltrError
from ultr.imports import find_object


def import_log(config: Config, place: Path | None, out: Path | None, overwrite: bool, memory_limit: str | None = None) -> str:
    """Read [data], write it as a log folder and describe it; a table of `read_table` is sorted and grouped out of core."""
    folder = log_folder(config, out, overwrite)
    settings = settings_of(config, "data", "An import", place)
    if "path" in settings and "items" not in settings and find_object(settings.get("type"), "data") is read_table:
        _import_table(settings, folder, overwrite, memory_limit)
        return described(folder)
    if memory_limit is not None:
        raise ConfigError("--memory-limit is for tables that ultr:read_table reads, without items; this [data] is read into memory.")
    return write_and_describe(as_log(open_data(config, place, "An import")), folder, overwrite)


def _import_table(settings: dict[str, object], folder: Path, overwrite: bool, memory_limit: str | None) -> None:
    from ultr.data.table_import import MEMORY_LIMIT, import_table

    # read_table with only its path missing: so its settings are checked as everywhere else
    bound = build({name: value for name, value in settings.items() if name != "path"}, "data")
    keywords = bound.keywords if isinstance(bound, partial) else {}
    limit = MEMORY_LIMIT if memory_limit is None else memory_limit
    try:
        import_table(str(settings["path"]), folder, **keywords, memory_limit=limit, overwrite=overwrite, progress=True)
    except UltrError as error:
        raise type(error)(f"[data] {error}") from error


def log_folder(config: Config, out: Path | None, overwrite: bool) -> Path:
    """Return where the log goes: --out, else [run] out, else ultr-NAME-log after the config.

    Raises:
        ConfigError: [run] has a wrong setting.
        FileError: something is there that may not be replaced; nothing has been read yet.
    """
    run = config.run()
    folder = out or Path(run.out or f"ultr-{config.path.stem}-log")
    if folder.exists() and not is_log(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileError(f"{folder} is there already and is no log, so it is never replaced. Choose another folder with --out.")
    if is_log(folder) and not overwrite:
        raise FileError(f"{folder} holds a log already. Choose another folder with --out, or add --overwrite to replace the log.")
    return folder


def write_and_describe(log: LogSource, folder: Path, overwrite: bool) -> str:
    """Write a log, whole or not at all, and return its description."""
    write_log(log, folder, overwrite=overwrite)
    return described(folder)


def described(folder: Path) -> str:
    """Describe a log that was written, and say what to do with it."""
    description = describe_log(ParquetLog.open(folder), str(folder))
    return f'{description}\n\nWritten to {folder}. Next: ultr fit, with [data] type = "ultr:ParquetLog.open".'
