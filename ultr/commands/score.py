"""`ultr score`: the scores and ranks that a fitted ranker gives the rows of a log."""

from __future__ import annotations

from pathlib import Path

from ultr.commands.sources import open_log
from ultr.data.source import gather
from ultr.errors import FileError
from ultr.evaluation.store import write_atomically
from ultr.models.files import load
from ultr.models.fitted_attribution import FittedAttribution
from ultr.models.fitted_conversion import FittedConversion

FORMATS = (".csv", ".parquet")


def score(model: Path, log: Path, out: Path) -> str:
    """Score every row and write page, item, score and rank, best first on each page; the file appears whole or not at all.

    A model of conversions or credits adds its predictions in their place, a row after the other.

    User and query of the page stand beside it, where the log has them.

    Args:
        model: A model folder, or the folder of `ultr fit` with one in it.
        log: A log folder, or a config whose [data] is read.
        out: The file, .csv or .parquet.
    """
    if out.suffix not in FORMATS:
        raise FileError(f"{out}: the name must end in {' or '.join(FORMATS)}, which says how to write the scores.")
    fitted = load(model / "model" if (model / "model" / "model.json").is_file() else model)
    if isinstance(fitted, FittedConversion | FittedAttribution):
        scored = fitted.apply(gather(open_log(log)))
        ranks, values = {}, [name for name in scored.columns if name.startswith("predicted_")]
    else:
        scored = fitted.rank(gather(open_log(log)))
        ranks, values = {"rank": scored.slots() + 1}, ["score"]
    who = [name for name in ("user", "query") if name in scored.page_columns]
    frame = scored.to_frame()[["page", *who, "item", *values]].assign(**ranks)
    data = frame.to_csv(index=False).encode() if out.suffix == ".csv" else frame.to_parquet(index=False)
    write_atomically(out, lambda file: file.write(data))
    return f"Scored {scored.n_rows:,} rows on {len(scored):,} pages. Written to {out}: {', '.join(map(str, frame.columns))}."
