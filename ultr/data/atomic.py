"""Folders that appear as a whole or not at all: locks, hidden names, and the renaming at the end."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from ultr.data.folder import is_log
from ultr.errors import FileError

_WAIT = 0.01  # seconds until a lock that somebody else holds is tried again


def check_target(target: Path, overwrite: bool) -> None:
    """Refuse a path where something lies that may not be replaced.

    Raises:
        FileError: it is no log, or it is one and `overwrite` is False.
    """
    if target.parent.is_dir():
        with _alone_in(target.parent):
            _check(target, overwrite)


def _check(target: Path, overwrite: bool) -> None:
    _restore(target)
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not is_log(target):
        raise FileError(f"{target} is there already and is not a log, so it is never replaced. Choose another path.")
    if not overwrite:
        raise FileError(f"{target} holds a log already. Choose another path, or replace the log with overwrite=True.")


@contextmanager
def partial_folder(target: Path) -> Iterator[Path]:
    """Make a hidden folder beside `target`, locked while the block runs and removed at its end, unless it was renamed.

    Hidden folders of writers that were killed are removed first: nobody holds their locks.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(target)
    while True:
        partial = _hidden(target, "partial")
        partial.mkdir()
        with locked(partial) as ours:
            if ours is False:  # another writer took the new folder for an abandoned one
                continue
            try:
                yield partial
            finally:
                shutil.rmtree(partial, ignore_errors=True)
            return


def put_in_place(folder: Path, target: Path, overwrite: bool) -> None:
    """Rename a finished folder to its target; an old log is moved aside first, and back if that fails.

    Raises:
        FileError: something is there by now that may not be replaced.
        OSError: the disk refuses.
    """
    for file in folder.iterdir():
        sync(file)
    sync(folder)
    with _alone_in(target.parent):
        _check(target, overwrite)  # again: somebody else may have written meanwhile
        _exchange(folder, target)
        old = _hidden_folders(target, "old")  # those of killed writers too
    sync(target.parent)
    for path in old:
        shutil.rmtree(path, ignore_errors=True)


def _restore(target: Path) -> None:
    """Put an old log back that a writer had moved aside when it was killed; the caller is alone in the folder."""
    old = [] if target.exists() else [path for path in _hidden_folders(target, "old") if is_log(path)]
    if old:
        max(old, key=lambda path: path.stat().st_mtime_ns).rename(target)


def _exchange(folder: Path, target: Path) -> None:
    old = _hidden(target, "old")
    if is_log(target):
        target.rename(old)
    elif target.exists():
        target.rmdir()
    try:
        folder.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until nobody else puts a log in place in a folder; it takes them two renamings."""
    while True:
        with locked(folder) as ours:
            if ours is not False:
                yield
                return
        time.sleep(_WAIT)


@contextmanager
def locked(path: Path) -> Iterator[bool | None]:
    """Try to hold the lock of a folder or file while a block runs; a process that dies lets go of its locks.

    Returns:
        Whether the lock is held: False where somebody else has it or the path is gone, None where the system has no such locks.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except FileNotFoundError:
        yield False
        return
    except PermissionError:  # Windows opens no folders
        yield None
        return
    try:
        yield _lock(descriptor, path)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, path: Path) -> bool | None:
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems
        return None
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def sync(path: Path) -> None:
    """Have the disk keep a file, or the names in a folder, whatever happens to the machine."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a small file that is there as a whole or not at all, whatever happens to the machine."""
    partial = _hidden(path, "partial")
    try:
        partial.write_bytes(content)
        sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync(path.parent)


def _hidden(target: Path, kind: str) -> Path:
    return target.with_name(f".{target.name}.{uuid4().hex}.{kind}")


def _hidden_folders(target: Path, kind: str) -> list[Path]:
    name = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{32}}\.{kind}")
    return [path for path in target.parent.iterdir() if name.fullmatch(path.name)]


def _remove_abandoned(target: Path) -> None:
    """Remove the hidden folders of this target whose writer is no more."""
    for folder in _hidden_folders(target, "partial"):
        with locked(folder) as ours:
            if ours:
                shutil.rmtree(folder, ignore_errors=True)
