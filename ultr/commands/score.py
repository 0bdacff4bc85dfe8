"""`ultr score`: the scores and ranks that a fitted ranker gives the rows of a log."""

from __future__ import annotations

from pathlib import Path

from ultr.commands.sources import open_log
from ultr.data.source import gather
from ultr.errors import FileError
from ultr.evaluation.store import write_atomically
from ultr.models.files import load

FORMATS = (".csv", ".parquet")


def score(model: Path, log: Path, out: Path) -> str:
    """Score every row and write page, item, score and rank, best first on each page; the file appears whole or not at all.

    User and query of the page stand beside it, where the log has them.

    Args:
        model: A model folder, or the folder of `ultr fit` with one in it.
        log: A log folder, or a config whose [data] is read.
        out: The file, .csv or .parquet.
    """
    if out.suffix not in FORMATS:
        raise FileError(f"{out}: the name must end in {' or '.join(FORMATS)}, which says how to write the scores.")
    ranker = load(model / "model" if (model / "model" / "model.json").is_file() else model)
    ranked = ranker.rank(gather(open_log(log)))
    who = [name for name in ("user", "query") if name in ranked.page_columns]
    frame = ranked.to_frame()[["page", *who, "item", "score"]].assign(rank=ranked.slots() + 1)
    data = frame.to_csv(index=False).encode() if out.suffix == ".csv" else frame.to_parquet(index=False)
    write_atomically(out, lambda file: file.write(data))
    return f"Scored {ranked.n_rows:,} rows on {len(ranked):,} pages. Written to {out}: {', '.join(map(str, frame.columns))}."
