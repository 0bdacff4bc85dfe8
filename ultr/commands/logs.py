"""`ultr import`: a user's own table as a log folder; and the writing of log folders."""

from __future__ import annotations

from pathlib import Path

from ultr.commands.describe import describe_log
from ultr.commands.sources import as_log, open_data
from ultr.config import Config
from ultr.data.folder import is_log
from ultr.data.source import LogSource
from ultr.data.writer import write_log
from ultr.errors import FileError


def import_log(config: Config, place: Path | None, out: Path | None, overwrite: bool) -> str:
    """Read [data], write it as a log folder and describe it."""
    folder = log_folder(config, out, overwrite)
    return write_and_describe(as_log(open_data(config, place, "An import")), folder, overwrite)


def log_folder(config: Config, out: Path | None, overwrite: bool) -> Path:
    """Return where the log goes: --out, else [run] out, else ultr-NAME-log after the config.

    Raises:
        FileError: something is there that may not be replaced; nothing has been read yet.
    """
    folder = out or Path(config.run().out or f"ultr-{config.path.stem}-log")
    if folder.exists() and not is_log(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileError(f"{folder} is there already and is no log, so it is never replaced. Choose another folder with --out.")
    if is_log(folder) and not overwrite:
        raise FileError(f"{folder} holds a log already. Choose another folder with --out, or add --overwrite to replace the log.")
    return folder


def write_and_describe(log: LogSource, folder: Path, overwrite: bool) -> str:
    """Write a log, whole or not at all, and return its description."""
    write_log(log, folder, overwrite=overwrite)
    return f'{describe_log(log, str(folder))}\n\nWritten to {folder}. Next: ultr fit, with [data] type = "ultr:ParquetLog.open".'
