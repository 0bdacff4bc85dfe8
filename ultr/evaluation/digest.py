"""Tell two logs apart cheaply, and write settings so that equal ones read alike in every run."""

from __future__ import annotations

import hashlib
import re

import numpy as np

from ultr.data.log import ClickLog
from ultr.data.source import LogSource
from ultr.random import hash_ids

_SAMPLE = 100_000  # values of a column that are looked at, evenly spread


def digest(source: LogSource) -> dict[str, object]:
    """Return pages, rows and a hash over the columns' names, types and a sample of their values.

    Equal logs have equal digests on every machine. Logs that differ only in rows left out of the sample have equal digests too: this
    catches another file, seed or setting, not a single edited row among millions. Of a log on disk the hash covers the sizes of all row
    groups and the values of the first; of other sources in pieces all is about the first piece.
    """
    log = source if isinstance(source, ClickLog) else next(iter(source.chunks()), None)
    if log is None:
        return {"pages": 0, "rows": 0, "hash": ""}
    groups = getattr(source, "groups", ())
    if len(groups) > 1:
        sizes = np.array([(group.pages, group.rows) for group in groups])
        state = hashlib.blake2b(sizes.astype("<i8").tobytes(), digest_size=16)
        pages, rows = (int(total) for total in sizes.sum(axis=0))
    else:
        state, pages, rows = hashlib.blake2b(digest_size=16), len(log), log.n_rows
    arrays = {"offsets": log.offsets, **log.columns, **log.page_columns}
    if log.items is not None and log.items.features is not None:
        arrays["features"] = log.items.features.reshape(-1)
    for name, values in arrays.items():
        state.update(f"{name} {values.dtype} {len(values)};".encode())
        sample = values[:: 1 + len(values) // _SAMPLE]
        state.update(np.ascontiguousarray(hash_ids(sample) if sample.dtype.kind == "O" else sample).tobytes())
    return {"pages": pages, "rows": rows, "hash": state.hexdigest()}


def settings_of(value: object) -> str:
    """Return the repr on one line, without memory addresses, which change from run to run."""
    return re.sub(r"\s+", " ", re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value)))
