"""Write a log in shards that are made on their own, in any order and by any engine; a killed writer goes on where it was."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from ultr.data import writer
from ultr.data.atomic import check_target, locked, put_in_place, write_atomically
from ultr.data.checks import need_path
from ultr.data.files import SCHEMA
from ultr.data.groups import SessionRuns
from ultr.data.items import Items
from ultr.data.shard_files import KEPT, Entry, WriteShard, read_entry, runs_path
from ultr.data.source import LogSource
from ultr.data.stored_items import digest_of
from ultr.errors import FileError, LogError

_LOCK, _IDENTITY = "lock", "identity.json"

Task = TypeVar("Task")
Result = TypeVar("Result")


class Mapper(Protocol):
    """What is needed of an engine, which lives a floor above."""

    def map(
        self, function: Callable[[Task], Result], tasks: Sequence[Task], names: Sequence[str] | None = None
    ) -> Iterator[tuple[int, Result]]:
        """Yield (number of the task, result) as tasks finish."""


def write_shards(
    make: Callable[[int], LogSource],
    n_shards: int,
    path: str | Path,
    *,
    identity: Mapping[str, object],
    items: Items | None = None,
    engine: Mapper | None = None,
    progress: bool = False,
    overwrite: bool = False,
) -> int:
    """Write a log whose shards are made one by one, a file each; the log is there as a whole or not at all, as with `write_log`.

    Finished shards wait in the hidden folder `.NAME.unfinished` beside `path`. A writer that fails or is killed leaves them there, and
    the same call goes on with those that are missing; a file that is not what was written is made again.

    Args:
        make: Maps the number of a shard to its pages, whole sessions, always the same ones; called where the engine runs it.
        n_shards: Number of shards, at least 1.
        path: The folder of the log. Missing parents are made.
        identity: All that decides what the log holds, such as settings, seed and version, as JSON has it. What was left by a writer with
            another identity is refused.
        items: The items of the log; those of the shards have to be equal.
        engine: Where shards are made; here, one after the other, when None.
        progress: Whether a bar on standard error counts the shards.
        overwrite: Replace a log that is there already, and discard what a writer with another identity left.

    Returns:
        How many shards were there from an earlier call.

    Raises:
        FileError: something is at `path` that may not be replaced, another writer is at work on it, an unfinished log of another identity
            is there, or the disk refuses.
        LogError: shards differ in columns, dtypes or items, or a session lies in more than one.
    """
    if n_shards < 1:
        raise LogError(f"A log is written in 1 or more shards, not {n_shards}.")
    target = need_path(path).resolve()
    check_target(target, overwrite)
    work = target.with_name(f".{target.name}.unfinished")
    try:
        with _working_in(work, target):
            plan = _Plan(work / _begun(work, {**identity, "shards": n_shards}, overwrite), items)
            there = plan.write_missing(make, n_shards, engine, progress)
            plan.finish(n_shards)
            put_in_place(plan.pages, target, overwrite)
    except OSError as error:
        raise FileError(f"{target} cannot be written: {error}. {KEPT}") from error
    return there


@contextmanager
def _working_in(work: Path, target: Path) -> Iterator[None]:
    """Hold the lock of the hidden folder; at the end it goes, unless shards wait in it for another call."""
    work.mkdir(parents=True, exist_ok=True)
    (work / _LOCK).touch()
    with locked(work / _LOCK) as ours:
        if ours is False:
            raise FileError(f"{target} is being written by another process. Wait for it, or choose another path.")
        try:
            yield
        finally:
            if not any(work.glob("*/log/*.parquet")):
                _discard(work)
                (work / _LOCK).unlink(missing_ok=True)
                with suppress(OSError):  # another writer may have come
                    work.rmdir()


def _begun(work: Path, identity: Mapping[str, object], overwrite: bool) -> str:
    """Compare what is to be written with what was begun, and return the name of its folder.

    The name depends on the identity: should a worker outlive its killed writer, it finds no folder of another log to write into.
    """
    said = json.dumps(identity, sort_keys=True, indent=1)
    try:
        before = (work / _IDENTITY).read_text(encoding="utf-8")
    except FileNotFoundError:
        before = None
    if before != said:
        if before is not None and not overwrite:
            raise FileError(_other_identity(work, json.loads(before), json.loads(said)))
        _discard(work)
        write_atomically(work / _IDENTITY, said.encode())
    return hashlib.sha256(said.encode()).hexdigest()[:16]


def _other_identity(work: Path, before: dict[str, object], now: dict[str, object]) -> str:
    odd = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    what = ", ".join(f"{name} ({before.get(name)!r}, now {now.get(name)!r})" for name in odd)
    return (
        f"{work} holds an unfinished log that was begun with other settings: {what}. Finish it with those, discard it"
        " (overwrite=True, --overwrite), or choose another path."
    )


def _discard(work: Path) -> None:
    """Remove all but the lock."""
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()


@dataclass(frozen=True)
class _Plan:
    """Where the shards of one log lie, and what is remembered of them.

    Args:
        folder: Of this log alone.
        items: Items of the log.
    """

    folder: Path
    items: Items | None

    @property
    def pages(self) -> Path:
        """The folder that becomes the log."""
        return self.folder / "log"

    @property
    def entries(self) -> Path:
        """The folder of what is remembered of finished shards."""
        return self.folder / "entries"

    def write_missing(self, make: Callable[[int], LogSource], n_shards: int, engine: Mapper | None, progress: bool) -> int:
        """Write the shards that are not there, and return how many are."""
        from tqdm import tqdm

        for folder in (self.pages, self.entries):
            folder.mkdir(parents=True, exist_ok=True)
        self._remove_half_written()
        missing = [number for number in range(n_shards) if read_entry(self.pages, self.entries, number) is None]
        write = WriteShard(make, self.pages, self.entries, self.items, None if self.items is None else digest_of(self.items))
        there = n_shards - len(missing)
        with tqdm(total=n_shards, initial=there, desc="writing", unit="shard", disable=not progress, dynamic_ncols=True) as bar:
            if engine is None:
                for number in missing:
                    write(number)
                    bar.update()
            else:
                for _ in engine.map(write, missing, [f"shard {number} of {n_shards}" for number in missing]):
                    bar.update()
        return there

    def finish(self, n_shards: int) -> None:
        """Put schema.json together from the entries; shards that do not fit together are removed."""
        try:
            said: writer.Said = []
            runs, first = SessionRuns(), self._entry(0)
            for number in range(n_shards):
                entry = self._entry(number)
                groups = [tuple(group) for group in entry["row_groups"]]
                _check_alike(number, entry, first)
                _check_ends(number, said, groups)
                if "session" in entry["page_columns"]:
                    runs.extend(np.load(runs_path(self.entries, number)), sum(int(pages or 0) for _, _, pages, *_ in groups))
                said += groups
            runs.check()
        except LogError:
            shutil.rmtree(self.folder)
            raise
        self._remove_half_written()
        (self.pages / SCHEMA).unlink(missing_ok=True)  # a writer was killed between this and the end
        columns, page_columns = ({n: np.dtype(dtype) for n, dtype in kind.items()} for kind in (first["columns"], first["page_columns"]))
        writer.write_schema(self.pages, columns, page_columns, said, self.items)

    def _remove_half_written(self) -> None:
        """Remove what writers and workers that were killed left."""
        for left in self.pages.glob(".*"):
            left.unlink(missing_ok=True)

    def _entry(self, number: int) -> Entry:
        entry = read_entry(self.pages, self.entries, number)
        if entry is None:
            raise FileError(f"{self.pages / writer.pages_name(number)} was changed while the log was written. Write it again.")
        return entry


def _check_alike(number: int, entry: Entry, first: Entry) -> None:
    for here, there in ((entry["columns"], first["columns"]), (entry["page_columns"], first["page_columns"])):
        odd = sorted(name for name in {*here, *there} if name not in here or name not in there or here[name] != there[name])
        if odd:
            what = ", ".join(f"{name} ({here.get(name, 'missing')}, not {there.get(name, 'known')})" for name in odd)
            raise LogError(f"Shards need the same columns: shard {number} and shard 0 differ in {what}. Make them alike.")


def _check_ends(number: int, before: writer.Said, groups: writer.Said) -> None:
    if before and groups and groups[0][4] is not None and before[-1][5] == groups[0][4]:
        raise LogError(f"Shards hold whole sessions, but session {groups[0][4]!r} runs on from the shard before into shard {number}.")
