"""Items on disk: ids in items.parquet, features in features.npy, which is mapped into memory and not read."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ultr.data.arrow import arrow_type, to_arrow, to_numpy
from ultr.data.files import SCHEMA, checksum, naming, open_parquet
from ultr.data.items import Items
from ultr.errors import FileError
from ultr.random import hash_ids

ITEMS, FEATURES = "items.parquet", "features.npy"
_ITEM_BLOCK = 1 << 16  # items a row group
_READ_THROUGH = 1 << 30  # features of so many bytes or fewer are compared with their checksum: about half a second


@dataclass(frozen=True)
class StoredItems:
    """Items on disk, loaded on first use and once for all logs that share this object; pickled without what was loaded.

    Features are mapped copy-on-write: only what is used is read, processes share it, and writing into it changes no file. Up to 1 GiB of
    them are read through once and compared with their checksum; beyond that the first and last bytes are, when the log is opened.

    Args:
        path: items.parquet; features.npy lies beside it.
        length: Number of items.
        n_features: Features of each; None where items are known by id only.
        ids: Dtype of the ids; None where the row number is the id.
        names: Names of the features.
        digest: Hash of the content, equal for equal items.
        checksum: CRC-32 of the numbers in features.npy; None where there is no such file. Logs of version 1 have the features in
            items.parquet.
    """

    path: Path
    length: int
    n_features: int | None
    ids: str | None
    names: tuple[str, ...] | None
    digest: str
    checksum: int | None = None

    @cached_property
    def items(self) -> Items:
        """The items, with float32 features.

        Raises:
            FileError: a file cannot be read, or is not what was written.
        """
        features = None if self.n_features is None else np.empty((self.length, self.n_features), dtype=np.float32)
        if self.checksum is not None:
            features = self._mapped_features(self.checksum)
        with naming(self.path):
            ids = self._read(features if self.checksum is None else None)
        return Items.checked(features, ids, self.names)

    def _read(self, features: np.ndarray | None) -> np.ndarray | None:
        """Read the ids, and the features into the array given."""
        ids = [] if self.ids is None else [np.empty(0, dtype=np.dtype(self.ids))]
        start = 0
        with open_parquet(self.path) as file:
            for batch in file.iter_batches(batch_size=_ITEM_BLOCK, use_threads=False):
                if self.ids is not None:
                    ids.append(to_numpy(batch.column("id"), np.dtype(self.ids)))
                if features is not None and self.n_features:
                    features[start : start + len(batch)] = batch.column("features").flatten().to_numpy().reshape(len(batch), -1)
                start += len(batch)
        if start != self.length:
            raise FileError(f"{self.path} holds {start} items, {SCHEMA} says {self.length}. Write the log again.")
        return None if self.ids is None else np.concatenate(ids)

    def _mapped_features(self, written: int) -> np.ndarray:
        path = self.path.with_name(FEATURES)
        with naming(path):
            mapped = np.load(path, mmap_mode="c", allow_pickle=False)
            if mapped.shape != (self.length, self.n_features) or mapped.dtype != np.float32:
                raise ValueError(f"it holds {mapped.dtype} of shape {mapped.shape}, not float32 of ({self.length}, {self.n_features})")
            if mapped.nbytes <= _READ_THROUGH and checksum(path, mapped.offset) != written:
                raise ValueError("its numbers are not the ones that were written (their checksum differs)")
        return np.asarray(mapped)

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "items"}  # a worker maps them itself


def write_items(items: Items, folder: Path) -> dict[str, object]:
    """Write items.parquet (row number, id) and features.npy (float32, one row an item), and return their entry for schema.json."""
    fields = [pa.field("item", pa.int64(), nullable=False)]
    if items.ids is not None:
        fields.append(pa.field("id", arrow_type("ids of the items", items.ids.dtype)))
    schema = pa.schema(fields)
    with pq.ParquetWriter(folder / ITEMS, schema, write_page_checksum=True) as writer:
        for start in range(0, len(items), _ITEM_BLOCK):
            block = slice(start, start + _ITEM_BLOCK)
            arrays = [pa.array(np.arange(len(items), dtype=np.int64)[block])]
            if items.ids is not None:
                arrays.append(to_arrow("ids of the items", items.ids[block]))
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
    stored = items.features is not None and items.features.size > 0  # an empty file cannot be mapped
    if items.features is not None and stored:
        np.save(folder / FEATURES, items.features, allow_pickle=False)
    return {
        "length": len(items),
        "n_features": None if items.features is None else items.n_features,
        "ids": None if items.ids is None else str(items.ids.dtype),
        "names": items.names,
        "digest": digest_of(items),
        "checksum": zlib.crc32(items.features.reshape(-1).data) if items.features is not None and stored else None,
    }


def digest_of(items: Items) -> str:
    """Return a hash that is equal for items of equal features, ids and names."""
    shape = None if items.features is None else items.features.shape
    digest = hashlib.sha256(repr((len(items), shape, items.names, None if items.ids is None else str(items.ids.dtype))).encode())
    if items.features is not None:
        digest.update(items.features.reshape(-1).data)
    if items.ids is not None:
        digest.update(hash_ids(items.ids).data)
    return digest.hexdigest()
