"""Fields: which columns of a log describe an impression, and the encoder that turns them into numbers of table rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ultr.data.checks import as_numbers, refuse, require, rows_are, within
from ultr.data.log import ClickLog
from ultr.errors import ConfigError, LogError
from ultr.imports import nearest
from ultr.random import hash_ids, mix

Category = int | Literal["vocabulary"]
_SIZE = 16  # of an embedding, unless told otherwise
_MOST = 2**31 - 3  # buckets, with two more rows numbered by int32
MISSING, UNKNOWN, FIRST = 0, 1, 2  # rows of a field's table: no value, a value without a row of its own, and the first one that has one


@dataclass(frozen=True)
class Fields:
    """Which columns of a log an estimator of conversions or attributions reads, and how it embeds them.

    Every row of a log is an impression. A field is a row column, else a page column, which then holds for all rows of the page; `item` is
    read by its id where the items have ids. Whole numbers up to 2^53 are equal as 5 and 5.0, while the text "5" is another value. A missing
    value (None, NaN) of a categorical field has a table row of its own, one of a dense field becomes the mean, with an indicator beside it.
    A table row without a training impression, such as that of unknown values where there were none, gets the average of the field's
    trained rows.

    Args:
        categorical: Name -> the number of buckets, 1 to 2^31 - 3, of hashed values; or "vocabulary": the values seen in training
            each get a row. Values seen fewer than `min_count` times, and later ones, are unknown and share one row, so that it is trained.
        dense: Names of numbers; standardised by the mean and standard deviation of the training impressions.
        embedding: Length of the embeddings, at least 1; or name -> length, 16 for fields not named. Linear towers have a weight a value
            and no embeddings.
        min_count: Training impressions that a value of a vocabulary needs for a row of its own, at least 1.

    Raises:
        ConfigError: there is no field, one is named twice, or a setting is out of range.
    """

    categorical: Mapping[str, Category] = field(default_factory=dict)
    dense: Sequence[str] = ()
    embedding: int | Mapping[str, int] = _SIZE
    min_count: int = 2

    def __post_init__(self) -> None:
        if isinstance(self.dense, str):
            raise ConfigError(f"Fields: dense must be a list of names, not one text: write dense=({self.dense!r},).")
        if not isinstance(self.categorical, Mapping):
            raise ConfigError('Fields: categorical maps names to a number of buckets or "vocabulary", e.g. {"user": 10_000}.')
        object.__setattr__(self, "dense", tuple(self.dense))
        object.__setattr__(self, "categorical", {name: _plain(value) for name, value in self.categorical.items()})
        object.__setattr__(self, "min_count", _plain(self.min_count))
        doubled = sorted(set(self.dense) & set(self.categorical)) or sorted({name for name in self.dense if self.dense.count(name) > 1})
        if doubled:
            raise ConfigError(f"Fields: {', '.join(map(repr, doubled))} is named twice: a field is categorical or dense.")
        if not self.names:
            raise ConfigError('Fields: name at least one column, e.g. categorical={"user": 10_000} or dense=("price",).')
        for name, category in self.categorical.items():
            if category != "vocabulary" and not (_whole(category) and int(category) <= _MOST):
                raise ConfigError(f'Fields: {name!r} needs a number of buckets of 1 to {_MOST}, or "vocabulary", not {category!r}.')
        lengths = self.embedding if isinstance(self.embedding, Mapping) else dict.fromkeys(self.categorical, self.embedding)
        for name, length in lengths.items():
            if name not in self.categorical:
                raise ConfigError(
                    f"Fields: embedding needs the categorical field {name!r}, which is not named.{nearest(name, self.categorical)}"
                )
            if not _whole(length):
                raise ConfigError(f"Fields: the embedding of {name!r} must have a length of at least 1, not {length!r}.")
        if not _whole(self.min_count):
            raise ConfigError(f"Fields: min_count must be a whole number of at least 1, not {self.min_count!r}.")

    @property
    def names(self) -> tuple[str, ...]:
        """All fields, categorical ones first."""
        return (*self.categorical, *self.dense)

    def length_of(self, name: str) -> int:
        """Return the length of the embedding of a categorical field."""
        return self.embedding.get(name, _SIZE) if isinstance(self.embedding, Mapping) else self.embedding

    def fit(self, log: ClickLog, by: str = "Fields", rows: np.ndarray | None = None) -> FieldEncoder:
        """Return the encoder for the impressions of a log.

        Args:
            log: The impressions; their order does not matter.
            by: Who asks, for messages.
            rows: True where an impression is for training, shape [N]; all of them when None.

        Raises:
            LogError: a column is missing, or a dense one holds what is no finite number, or numbers too far apart.
        """
        rows = np.ones(log.n_rows, dtype=bool) if rows is None else rows
        vocabularies = {}
        for name, category in self.categorical.items():
            if category == "vocabulary":
                hashes, missing = hashed_values(column_of(log, name, by))
                values, counts = np.unique(hashes[rows & ~missing], return_counts=True)
                vocabularies[name] = values[counts >= self.min_count]
        scales = {}
        for name in self.dense:
            numbers = _numbers(log, name, by)[rows]
            known = np.sort(numbers[~np.isnan(numbers)])  # sorted: the sum does not depend on the order of the log
            constant = not len(known) or known[0] == known[-1]  # rounding may leave a spread of 1e-17
            mean = 0.0 if not len(known) else float(known[0] if constant else known.mean())
            with np.errstate(over="ignore"):
                sd = 1.0 if constant else float(known.std())
            if not np.isfinite(sd):
                raise LogError(
                    f"{by}: {name} reaches from {known[0]:g} to {known[-1]:g}, too far to standardise: clip it, or take its logarithm."
                )
            scales[name] = Scale(mean, sd, len(known) < len(numbers))
        return FieldEncoder(self, vocabularies, scales)


@dataclass(frozen=True)
class Scale:
    """How a dense field is standardised.

    Args:
        mean: Of the training impressions that have a value.
        sd: Their standard deviation; 1 where it is 0.
        indicator: Whether some of them had no value: only then is there an indicator, which otherwise nothing would train.
    """

    mean: float
    sd: float
    indicator: bool


@dataclass(frozen=True, eq=False)
class FieldEncoder:
    """Fields fitted to a log: values become numbers of table rows, and standardised numbers.

    Args:
        fields: Which columns.
        vocabularies: Name -> the hashes of the values that have a row, rising, uint64.
        scales: Name -> how a dense field is standardised.
    """

    fields: Fields
    vocabularies: Mapping[str, np.ndarray]
    scales: Mapping[str, Scale]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Table rows of each categorical field, those of missing and of unknown values among them."""
        return tuple(
            FIRST + (len(self.vocabularies[name]) if category == "vocabulary" else category)
            for name, category in self.fields.categorical.items()
        )

    @property
    def lengths(self) -> tuple[int, ...]:
        """Length of the embedding of each categorical field."""
        return tuple(self.fields.length_of(name) for name in self.fields.categorical)

    @property
    def n_dense(self) -> int:
        """Numbers that an impression has: the dense fields, and the indicators of missing values."""
        return len(self.scales) + sum(scale.indicator for scale in self.scales.values())

    def codes(self, log: ClickLog, by: str = "Fields") -> np.ndarray:
        """Return the table row of every impression in each categorical field, counted within the field, int32, shape [N, F].

        Raises:
            LogError: a column is missing.
        """
        out = np.empty((log.n_rows, len(self.fields.categorical)), dtype=np.int32)
        for i, (name, category) in enumerate(self.fields.categorical.items()):
            hashes, missing = hashed_values(column_of(log, name, by))
            if category == "vocabulary":
                known = self.vocabularies[name]
                place = np.searchsorted(known, hashes)
                found = known[np.minimum(place, len(known) - 1)] == hashes if len(known) else np.zeros(len(hashes), dtype=bool)
                out[:, i] = np.where(found, FIRST + place, UNKNOWN)
            else:
                out[:, i] = FIRST + (mix(hashes) % np.uint64(category)).astype(np.int32)
            out[missing, i] = MISSING
        return out

    def numbers(self, log: ClickLog, by: str = "Fields") -> np.ndarray:
        """Return the standardised dense fields and the indicators of missing values, float32, shape [N, n_dense].

        Raises:
            LogError: a column is missing, or holds what is no finite number.
        """
        out: list[np.ndarray] = []
        for name, scale in self.scales.items():
            numbers = _numbers(log, name, by)
            missing = np.isnan(numbers)
            out.append(np.where(missing, 0.0, (numbers - scale.mean) / scale.sd))
            out += [missing] if scale.indicator else []
        return np.stack(out, axis=1).astype(np.float32) if out else np.empty((log.n_rows, 0), dtype=np.float32)

    def state(self) -> dict[str, object]:
        """Return all that `from_state` needs, as JSON can hold it."""
        fields = self.fields
        return {
            "categorical": fields.categorical,
            "dense": list(fields.dense),
            "embedding": dict(fields.embedding) if isinstance(fields.embedding, Mapping) else fields.embedding,
            "min_count": fields.min_count,
            "vocabularies": {name: [int(value) for value in values] for name, values in self.vocabularies.items()},
            "scales": {name: [scale.mean, scale.sd, scale.indicator] for name, scale in self.scales.items()},
        }

    @classmethod
    def from_state(cls, state: Mapping) -> FieldEncoder:
        """Undo `state`."""
        fields = Fields(state["categorical"], tuple(state["dense"]), state["embedding"], state["min_count"])
        vocabularies = {name: np.array(values, dtype=np.uint64) for name, values in state["vocabularies"].items()}
        return cls(fields, vocabularies, {name: Scale(*scale) for name, scale in state["scales"].items()})


def column_of(log: ClickLog, name: str, by: str) -> np.ndarray:
    """Return a row column, or a page column repeated on every row of its page, shape [N]; `item` as ids where the items have ids.

    Raises:
        LogError: the log has neither.
    """
    if name in log.columns:
        ids = log.items.ids if name == "item" and log.items is not None else None
        return log.columns[name] if ids is None else ids[log.columns[name]]
    require({**log.columns, **log.page_columns}, name, by=by, kind="row or page column")
    return np.repeat(log.page_columns[name], log.lengths)


def hashed_values(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hash the values of a column, the same whatever kind of array they stand in.

    Returns:
        Hashes, uint64, shape [N], and True where there is no value, shape [N].
    """
    if values.dtype.kind in "iub":
        return hash_ids(values), np.zeros(len(values), dtype=bool)
    if values.dtype.kind == "f":
        return _hashed_floats(values.astype(np.float64)), np.isnan(values)
    if values.dtype.kind in "mM":
        return hash_ids(values.astype(f"{values.dtype.kind}8[ns]").astype(np.int64)), np.isnat(values)
    from pandas import isna

    hashes, missing = np.zeros(len(values), dtype=np.uint64), isna(values.astype(object))
    whole = np.array([isinstance(value, (int, np.integer)) and abs(int(value)) < 2**63 for value in values], dtype=bool) & ~missing
    real = np.array([isinstance(value, (float, np.floating)) for value in values], dtype=bool) & ~missing
    text = ~(whole | real | missing)
    hashes[whole] = hash_ids(values[whole].astype(np.int64))
    hashes[real] = _hashed_floats(values[real].astype(np.float64))
    hashes[text] = hash_ids(np.array([str(value) for value in values[text]], dtype=object))
    return hashes, missing


def _hashed_floats(values: np.ndarray) -> np.ndarray:
    """Hash numbers; whole ones as the integers that they are."""
    whole = (values == np.floor(values)) & (np.abs(values) < 2.0**53)
    return np.where(whole, hash_ids(np.where(whole, values, 0).astype(np.int64)), hash_ids(values))


def _numbers(log: ClickLog, name: str, by: str) -> np.ndarray:
    """Return a dense field, NaN where it has no value, float64, shape [N]."""
    values, where = column_of(log, name, by), rows_are(log.offsets)
    if values.dtype.kind == "O":
        values = np.array([np.nan if value is None else value for value in values], dtype=object)
    numbers = as_numbers(name, values, where).astype(np.float64)
    refuse(np.isinf(numbers), f"{name} must be finite or missing", "Drop these rows, or make the values missing (NaN).", where, numbers)
    return numbers


def _plain(value: Any) -> Any:
    """Return a number of NumPy as one of Python, which JSON can hold; anything else as it is."""
    return int(value) if isinstance(value, np.integer) else value


def _whole(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, (int, np.integer)) and within(value, "[1, inf)")
