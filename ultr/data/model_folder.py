"""The folder of a fitted object on disk: model.json says what it is, and the rest lies beside it. Nothing is ever unpickled."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ultr.data.checks import need_path
from ultr.errors import ConfigError, FileError

VERSION = 1
_FORMAT = "ultr model"
_PLAIN = (str, int, float, bool, type(None))


def read_header(folder: Path) -> dict:
    """Return what model.json says.

    Raises:
        FileError: there is no model, it is damaged, or a newer version of ultr wrote it.
    """
    file = folder / "model.json"
    if not file.is_file():
        raise FileError(f"{folder} holds no model: {file} is missing. Give the folder that `save` or `ultr fit` wrote.")
    try:
        header = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise FileError(f"{file} is no valid JSON ({error}); the file is damaged.") from error
    if not isinstance(header, dict) or header.get("format") != _FORMAT:
        raise FileError(f"{file} is not a model of ultr.")
    version = header.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise FileError(f"{file} was written by a newer version of ultr (format {version}; this one reads up to {VERSION}). Upgrade ultr.")
    return header


def write_model(path: str | Path, header: Mapping[str, object], write_weights: Callable[[Path], object]) -> None:
    """Write a model's folder, which appears whole or not at all.

    Args:
        path: The folder; replaced if it holds a model already.
        header: What model.json says besides format and version; "kind" tells `load` what to make of it.
        write_weights: Writes the rest into the folder that it is given.

    Raises:
        FileError: the path is taken by something that is no model, or the disk refuses.
    """
    folder = need_path(path)
    if folder.exists() and not (folder / "model.json").is_file():
        raise FileError(f"{folder} exists and is no model: nothing was written. Give another path.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            write_weights(temporary)
            whole = {"format": _FORMAT, "version": VERSION, **header}
            (temporary / "model.json").write_text(json.dumps(whole, indent=1), encoding="utf-8")
            temporary.chmod(0o755)
            _put_in_place(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:  # a file stands where a folder is needed, nobody may write there, or the disk is full
        raise FileError(f"No model can be written to {folder}: {error}. Give another path.") from error


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename a finished folder to its name; an old model is moved aside first."""
    if not folder.exists():
        os.rename(temporary, folder)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    os.rename(folder, old / "old")
    os.rename(temporary, folder)
    shutil.rmtree(old)


def damaged(folder: Path, error: Exception) -> FileError:
    """Say that a model cannot be read, and why."""
    if isinstance(error, FileNotFoundError):
        return FileError(f"{folder} holds half a model: {error.filename} is missing. Restore it, or fit again.")
    return FileError(f"{folder} holds a damaged model ({type(error).__name__}: {str(error).splitlines()[0]}). Restore it, or fit again.")


def digest_of(content: bytes) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(content).hexdigest()


def plain_ids(what: str, ids: np.ndarray) -> list[object]:
    """Return ids as JSON has them, or refuse those that it would change.

    Raises:
        ConfigError: an id is neither a string nor a number.
    """
    plain = [value.item() if isinstance(value, np.generic) else value for value in ids.tolist()]
    for value in plain:
        if not isinstance(value, _PLAIN):
            raise ConfigError(
                f"This model cannot be saved: the {what} have ids of type {type(value).__name__}, such as {value!r}. Strings and"
                " numbers can be written: convert the ids before fitting."
            )
    return plain
