"""`ultr score`: the scores and ranks that a fitted ranker gives the rows of a log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from ultr.commands.sources import open_log
from ultr.data.log import ClickLog
from ultr.data.source import LogSource
from ultr.errors import FileError
from ultr.evaluation.store import write_atomically
from ultr.models.files import load
from ultr.models.fitted_attribution import FittedAttribution
from ultr.models.fitted_conversion import FittedConversion

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (".csv", ".parquet")


def score(model: Path, log: Path, out: Path) -> str:
    """Score every row and write page, item, score and rank, best first on each page; the file appears whole or not at all.

    A model of conversions or credits adds its predictions in their place, a row after the other.

    User and query of the page stand beside it, where the log has them. The log is read and scored piece by piece.

    Args:
        model: A model folder, or the folder of `ultr fit` with one in it.
        log: A log folder, or a config whose [data] is read.
        out: The file, .csv or .parquet.
    """
    if out.suffix not in FORMATS:
        raise FileError(f"{out}: the name must end in {' or '.join(FORMATS)}, which says how to write the scores.")
    fitted = load(model / "model" if (model / "model" / "model.json").is_file() else model)
    source, written = open_log(log), _Written()
    frames = written.watched(_scored(fitted, source))
    write_atomically(out, lambda file: (_write_csv if out.suffix == ".csv" else _write_parquet)(frames, file))
    return f"Scored {written.rows:,} rows on {written.pages:,} pages. Written to {out}: {', '.join(written.columns)}."


def _scored(fitted: object, source: LogSource) -> Iterator[tuple[int, pd.DataFrame]]:
    """Yield each piece's number of pages and its table."""
    first_page = 0
    for chunk in source.chunks():
        scored, values, ranks = _apply(fitted, chunk)
        who = [name for name in ("user", "query") if name in scored.page_columns]
        frame = scored.to_frame()[["page", *who, "item", *values]].assign(**ranks)
        if "page" not in scored.page_columns:  # numbered by the piece
            frame["page"] += first_page
        first_page += len(chunk)
        yield len(chunk), frame


def _apply(fitted: object, log: ClickLog) -> tuple[ClickLog, list[str], dict[str, np.ndarray]]:
    """Return the log with its predictions, the names of their columns, and the ranks of the rows, where there are any."""
    if isinstance(fitted, FittedConversion | FittedAttribution):
        scored = fitted.apply(log)
        return scored, [name for name in scored.columns if name.startswith("predicted_")], {}
    scored = fitted.rank(log)  # type: ignore[attr-defined]  # load returns one or the other
    return scored, ["score"], {"rank": scored.slots() + 1}


class _Written:
    """Counts what passes."""

    def __init__(self) -> None:
        self.pages = self.rows = 0
        self.columns: list[str] = []

    def watched(self, frames: Iterator[tuple[int, pd.DataFrame]]) -> Iterator[pd.DataFrame]:
        """Pass the tables on."""
        for pages, frame in frames:
            self.pages, self.rows, self.columns = self.pages + pages, self.rows + len(frame), list(map(str, frame.columns))
            yield frame


def _write_csv(frames: Iterator[pd.DataFrame], file: IO[bytes]) -> None:
    for i, frame in enumerate(frames):
        frame.to_csv(file, index=False, header=i == 0)


def _write_parquet(frames: Iterator[pd.DataFrame], file: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = pa.Table.from_pandas(next(frames), preserve_index=False)
    with pq.ParquetWriter(file, first.schema) as writer:
        writer.write_table(first)
        for frame in frames:
            writer.write_table(pa.Table.from_pandas(frame, schema=first.schema, preserve_index=False))
