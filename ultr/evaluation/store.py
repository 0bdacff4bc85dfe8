"""The folder of a comparison: what is compared, and one file a finished cell. Nothing is ever pickled."""

from __future__ import annotations

import json
import os
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np

from ultr.errors import ConfigError, FileError
from ultr.evaluation.cell import HISTORY, Cell

VERSION = 1
_FORMAT = "ultr comparison"


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file that appears whole or not at all: a temporary file beside it takes its place when it is done.

    Raises:
        FileError: the folder cannot be made or written to, or the disk is full; what stood there before still does.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror or error}. Choose another place, or make room.") from error
    finally:
        with suppress(OSError):  # gone already where all went well
            temporary.unlink()


class Store:
    """The finished cells of one comparison on disk.

    Args:
        directory: A folder, made if it does not exist.
        fingerprint: What the comparison consists of, in words; kept as readable JSON.

    Raises:
        ConfigError: the folder holds another comparison; the message says what differs.
        FileError: the folder's description is damaged, or a newer version of ultr wrote it.
    """

    def __init__(self, directory: str | Path, fingerprint: Mapping[str, Mapping[str, object]]) -> None:
        self.directory = Path(directory)
        file = self.directory / "comparison.json"
        wanted = json.loads(json.dumps(fingerprint))
        if file.exists():
            _refuse_other(file, wanted)
        else:
            text = json.dumps({"format": _FORMAT, "version": VERSION, **wanted}, indent=1)
            write_atomically(file, lambda f: f.write(text.encode()))

    def path(self, estimator: str, seed: int) -> Path:
        """Return the file of a cell."""
        name = re.sub(r"[^A-Za-z0-9_.+@-]", "_", estimator)[:80]
        if name != estimator:
            name += f"-{zlib.crc32(estimator.encode()):08x}"
        return self.directory / "cells" / f"{name}-seed-{seed}.npz"

    def save(self, cell: Cell) -> None:
        """Write a finished cell; it is there whole or not at all."""
        write_atomically(self.path(cell.estimator, cell.seed), lambda file: _write_cell(cell, file))

    def load(self, wanted: Iterable[tuple[str, int]]) -> dict[tuple[str, int], Cell]:
        """Read those of the wanted cells (estimator, seed) that are finished.

        Raises:
            FileError: a cell's file is damaged.
        """
        return {which: _read_cell(path) for which in wanted if (path := self.path(*which)).exists()}


def _refuse_other(file: Path, wanted: dict) -> None:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(f"{file} cannot be read ({error}): give another directory, or delete this one to start anew.") from error
    version = found.get("version") if isinstance(found, dict) and found.get("format") == _FORMAT else None
    if not isinstance(version, int):
        raise FileError(f"{file} does not describe a comparison of ultr: give another directory.")
    if version > VERSION:
        raise FileError(f"{file} was written by a newer version of ultr (format {version}; this one reads up to {VERSION}). Upgrade ultr.")
    for part, settings in wanted.items():
        before = found.get(part, {})
        for name in [*settings, *(name for name in before if name not in settings)]:
            old, new = before.get(name), settings.get(name)
            if old != new:
                raise ConfigError(
                    f"{file.parent} holds another comparison: {part} {name!r} was {_spell(old)}, now it is {_spell(new)}. "
                    "Give another directory, or delete this one; only seeds can be added."
                )


def _spell(value: object) -> str:
    return "not there" if value is None else value if isinstance(value, str) else json.dumps(value)


def _write_cell(cell: Cell, file: IO[bytes]) -> None:
    header = {
        "estimator": cell.estimator,
        "seed": cell.seed,
        "values": [list(key) for key in cell.values],
        "best_step": cell.best_step,
        "seconds": cell.seconds,
        "warnings": [list(warning) for warning in cell.warnings],
        "train": dict(cell.train),
    }
    arrays = {f"value/{i}": values for i, values in enumerate(cell.values.values())}
    arrays |= {name: array for name, array in (("propensity", cell.propensity), ("truth", cell.truth)) if array is not None}
    if cell.history is not None:
        types = dict(zip(HISTORY, (np.int64, np.str_, np.float64), strict=True))
        arrays |= {f"history/{name}": cell.history[name].to_numpy().astype(types[name]) for name in HISTORY}
    np.savez_compressed(file, header=np.array(json.dumps(header)), **arrays)  # type: ignore[arg-type]


def _read_cell(path: Path) -> Cell:
    import pandas as pd

    try:
        with np.load(path, allow_pickle=False) as arrays:
            header = json.loads(str(arrays["header"]))
            history = {name: arrays[f"history/{name}"] for name in HISTORY if f"history/{name}" in arrays}
            return Cell(
                estimator=header["estimator"],
                seed=header["seed"],
                values={(test, metric): arrays[f"value/{i}"] for i, (test, metric) in enumerate(header["values"])},
                propensity=arrays.get("propensity"),
                truth=arrays.get("truth"),
                history=pd.DataFrame({**history, "split": history["split"].astype(object)}) if history else None,
                best_step=header["best_step"],
                seconds=header["seconds"],
                warnings=tuple((category, message) for category, message in header["warnings"]),
                train=header["train"],
            )
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, EOFError) as error:
        raise FileError(f"{path} is damaged ({type(error).__name__}: {error}): delete it, and this cell is run again.") from error
