"""Vectors of Baidu-ULTR: one for each query and document, in memory or in a file that is mapped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np
import pyarrow as pa

from ultr.data.arrow import one_array
from ultr.data.baidu_files import BaiduFile, about
from ultr.data.baidu_pages import PageLayout
from ultr.data.checks import check_features
from ultr.data.files import naming
from ultr.errors import FileError
from ultr.imports import nearest


def read_features(
    files: tuple[BaiduFile, ...], layout: PageLayout, names: Sequence[str], keys: np.ndarray, cache: str | Path | None
) -> np.ndarray:
    """Return the features of the items, float32, shape [I, F].

    Args:
        files: The files.
        layout: What stands where in them.
        names: Columns that become features: a number or a list of numbers a row.
        keys: Hash of each item, rising, shape [I].
        cache: Folder for a file that holds them; in memory when None.

    Raises:
        FileError: a column is missing, or holds something other than finite numbers, as many in every row.
    """
    for file in files:
        for name in names:
            if name not in file.schema.names:
                have = file.schema.names
                raise FileError(f"{file.path} has no column {name!r} for features.{nearest(name, have)} It has: {', '.join(have)}.")
    if cache is None:
        return _fill(files, layout, names, keys, None)
    path = Path(cache) / f"baidu-ultr-{_print(files, names, keys)}.npy"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{uuid4().hex}.partial")
        try:
            _fill(files, layout, names, keys, partial)
            os.replace(partial, path)  # there as a whole or not at all
        finally:
            partial.unlink(missing_ok=True)
    with naming(path):
        return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))


def _fill(files: tuple[BaiduFile, ...], layout: PageLayout, names: Sequence[str], keys: np.ndarray, path: Path | None) -> np.ndarray:
    features: np.ndarray | None = None
    seen = np.zeros(len(keys), dtype=bool)
    for file in files:
        for table in file.pages([*layout.identity(), *names], layout.page):
            with about(file):
                vectors = np.concatenate([_vectors(table, name, layout.page is None) for name in names], axis=1)
                check_features(vectors)
                if features is None:
                    shape = len(keys), vectors.shape[1]
                    features = np.empty(shape, np.float32) if path is None else np.lib.format.open_memmap(path, "w+", np.float32, shape)
                if vectors.shape[1] != features.shape[1]:
                    raise ValueError(f"rows have {vectors.shape[1]} features, those before have {features.shape[1]}")
                item = np.searchsorted(keys, layout.keys(table)[0])
                item, first = np.unique(item, return_index=True)
                new = ~seen[item]
                features[item[new]] = vectors[first[new]]
                seen[item[new]] = True
    if features is None:
        raise FileError(f"{files[0].path} holds no page.")
    if isinstance(features, np.memmap):
        features.flush()
    return features


def _vectors(table: pa.Table, name: str, lists: bool) -> np.ndarray:
    """Return a column as float32, shape [N, F]."""
    array = one_array(table.column(name))
    array = array.storage if isinstance(array, pa.ExtensionArray) else array
    rows = array.flatten() if lists else array
    width = 1
    if pa.types.is_nested(rows.type):
        lengths = np.unique(rows.value_lengths().fill_null(0).to_numpy())
        if len(lengths) > 1:
            raise ValueError(f"{name!r} has from {lengths[0]} to {lengths[-1]} numbers a row")
        width = int(lengths[0]) if len(lengths) else 0
        rows = rows.flatten()
    if rows.null_count or not (pa.types.is_integer(rows.type) or pa.types.is_floating(rows.type)):
        raise ValueError(f"{name!r} holds {rows.type} with {rows.null_count} missing values, but features are numbers")
    return rows.to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, width) if width else np.empty((0, 0), np.float32)


def _print(files: tuple[BaiduFile, ...], names: Sequence[str], keys: np.ndarray) -> str:
    """Return what tells these features from others: the files as they are now, the columns and the items."""
    stats = [(str(file.path), file.path.stat().st_size, file.path.stat().st_mtime_ns) for file in files]
    digest = hashlib.sha256(repr((stats, list(names))).encode())
    digest.update(keys.data)
    return digest.hexdigest()[:24]
