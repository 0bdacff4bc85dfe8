"""Ali-CCP: impressions with clicks and purchases, in a skeleton of the impressions and a file of features that many of them share."""

from __future__ import annotations

import gzip
import warnings
import zlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from ultr.data.checks import find_file
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.errors import ConfigError, FileError, UltrWarning
from ultr.imports import nearest

FIELDS = (
    *("101", "109_14", "110_14", "127_14", "150_14", "121", "122", "124", "125", "126", "127", "128", "129"),  # user
    *("205", "206", "207", "210", "216"),  # item
    *("508", "509", "702", "853"),  # combinations
    "301",  # context
)
ITEM = "205"
_TAKEN = ("item", "click", "conversion")
_MISSING = -1
_LARGEST = 2**31 - 1
_SHARED = ("common_feature_id", "n_features", "features")
_IMPRESSION = ("sample_id", "click", "purchase", *_SHARED)


@dataclass(frozen=True, eq=False)
class _Impressions:
    """What the lines of the skeleton say; `ids` has an array for each field, -1 where the line itself does not name it."""

    ids: list[array]
    sample: array = field(default_factory=lambda: array("q"))
    click: array = field(default_factory=lambda: array("b"))
    purchase: array = field(default_factory=lambda: array("b"))
    shared: array = field(default_factory=lambda: array("i"))
    number: dict[str, int] = field(default_factory=dict)  # common_feature_id -> what `shared` calls it


def load_ali_ccp(
    skeleton: str | Path, common_features: str | Path, fields: Sequence[str] = FIELDS, max_rows: int | None = None
) -> ClickLog:
    r"""Read impressions of Ali-CCP: sample_skeleton_train.csv with common_features_train.csv, or the two of the test set.

    A line of the skeleton is `sample_id,click,purchase,common_feature_id,n_features,features`, one of the other file is
    `common_feature_id,n_features,features`, without headers; `features` are `field \x02 id \x03 value`, joined by \x01. The files are read
    line by line. Of the common features only those that the impressions need are kept, and of all features only `fields`: memory is 4 bytes
    a row and field (8 where the field is missing somewhere), at the peak about 9: 9 GB for 42 million rows with all fields.

    Args:
        skeleton: The impressions, plain or `.gz`.
        common_features: The features that impressions share, plain or `.gz`.
        fields: Which fields to read.
        max_rows: Read only so many impressions, from the first one on, at least 1; None reads all.

    Returns:
        One row a page. Columns click, conversion (the purchase) and one a field, named as it is: ids, int32, or float64 with NaN where
        some impressions lack it. Where a line has several ids of a field, the one with the largest value is kept, of equal ones the first.
        `item` is field 205, and `log.items` has its ids. A purchase without a click is dropped, as is a sample that was there before,
        with a warning that says how many.

    Raises:
        FileError: a file is missing, empty, truncated or malformed, common features are missing, or given twice in different ways.
        ConfigError: `fields` names no known field, or `max_rows` is no number of rows.

    Source:
        Ma et al. (2018), "Entire space multi-task model", SIGIR, released the data set. doi:10.1145/3209978.3210104. The format is
        reconstructed from published code that reads it.

    Differs:
        Published code varies in which of several ids it keeps, and in whether it cuts rare ids (here: `Fields(min_count=...)`).
    """
    fields = _checked(fields, max_rows)
    wanted = {name: i for i, name in enumerate(dict.fromkeys((*fields, ITEM)))}
    file, other = find_file(skeleton), find_file(common_features)
    impressions = _read_impressions(file, wanted, max_rows)
    shared = _read_shared(other, wanted, impressions, file)
    code = np.frombuffer(impressions.shared, dtype=np.int32)
    columns = {}
    for name, i in wanted.items():
        own = np.frombuffer(impressions.ids[i], dtype=np.int32)
        columns[name] = np.where(own == _MISSING, shared[code, i], own)
        impressions.ids[i] = array("i")  # let go of it: one copy of a field at a time
    _check_fields(file, columns, fields)
    kept = _kept(impressions, file)
    item, ids = pd.factorize(columns[ITEM][kept], sort=True)
    labels = {"click": impressions.click, "conversion": impressions.purchase}
    out = {"item": item.astype(np.int32), **{name: np.frombuffer(values, dtype=np.int8)[kept] for name, values in labels.items()}}
    out |= {name: _with_nan(columns.pop(name)[kept]) for name in fields}
    return ClickLog(np.arange(len(item) + 1), out, items=Items(ids=ids))


def _checked(fields: Sequence[str], max_rows: int | None) -> tuple[str, ...]:
    if isinstance(fields, str) or not all(isinstance(name, str) for name in fields) or not fields:
        raise ConfigError(f"load_ali_ccp: fields must be a list of names such as ('101', '205'), not {fields!r}.")
    if taken := [name for name in fields if name in _TAKEN]:
        raise ConfigError(f"load_ali_ccp: {taken[0]!r} is no field: the log has a column of that name anyway.")
    if max_rows is not None and (isinstance(max_rows, bool) or not isinstance(max_rows, (int, np.integer)) or max_rows < 1):
        raise ConfigError(f"load_ali_ccp: max_rows must be a whole number of at least 1, or None, not {max_rows!r}.")
    return tuple(dict.fromkeys(fields))


def _check_fields(file: Path, columns: dict[str, np.ndarray], fields: tuple[str, ...]) -> None:
    """Refuse an impression without an item, and a field that is neither known nor found."""
    lost = columns[ITEM] == _MISSING
    if lost.any():
        count = f"{int(lost.sum())} of {len(lost)} impressions"
        raise FileError(f"{file}, line {int(np.argmax(lost)) + 1}: no item (field {ITEM}), here or in the common features; so for {count}.")
    for name in fields:
        if name not in FIELDS and (columns[name] == _MISSING).all():
            raise ConfigError(f"load_ali_ccp: no impression has the field {name!r}.{nearest(name, FIELDS)} Known: {', '.join(FIELDS)}.")


def _kept(impressions: _Impressions, file: Path) -> np.ndarray:
    """Return which impressions stay, a mask [N], and warn of the others."""
    orphan = np.frombuffer(impressions.purchase, dtype=np.int8) > np.frombuffer(impressions.click, dtype=np.int8)
    again = pd.Series(np.frombuffer(impressions.sample, dtype=np.int64)).duplicated().to_numpy() & ~orphan
    if orphan.any() or again.any():
        warnings.warn(
            f"{file}: dropped {int(orphan.sum())} purchases without a click and {int(again.sum())} samples that were there before, of"
            f" {len(orphan)} impressions.",
            UltrWarning,
            stacklevel=3,
        )
    kept = ~(orphan | again)
    if not kept.any():
        raise FileError(f"{file}: no impression is left: all {len(kept)} are purchases without a click or repeated samples.")
    return kept


def _with_nan(ids: np.ndarray) -> np.ndarray:
    lost = ids == _MISSING
    return np.where(lost, np.nan, ids) if lost.any() else ids


def _read_impressions(file: Path, wanted: dict[str, int], max_rows: int | None) -> _Impressions:
    out = _Impressions([array("i") for _ in wanted])
    for line, (sample, click, purchase, shared, count, features) in _lines(file, _IMPRESSION):
        out.sample.append(_whole(file, line, "sample_id", sample, 2**63 - 1))
        out.click.append(_whole(file, line, "click", click, 1))
        out.purchase.append(_whole(file, line, "purchase", purchase, 1))
        out.shared.append(out.number.setdefault(shared, len(out.number)))
        for ids, value in zip(out.ids, _ids(file, line, count, features, wanted), strict=True):
            ids.append(value)
        if line == max_rows:
            break
    return out


def _read_shared(file: Path, wanted: dict[str, int], impressions: _Impressions, skeleton: Path) -> np.ndarray:
    """Return the ids of the common features that the impressions need, int32, shape [C, F]."""
    number = impressions.number
    out, found = np.full((len(number), len(wanted)), _MISSING, dtype=np.int32), np.zeros(len(number), dtype=bool)
    for line, (shared, count, features) in _lines(file, _SHARED):
        code = number.get(shared)
        if code is not None:
            ids = _ids(file, line, count, features, wanted)
            if found[code] and (out[code] != ids).any():
                raise FileError(f"{file}, line {line}: {shared!r} was there before, with other features. Keep one of them.")
            out[code], found[code] = ids, True
    if not found.all():
        code = int(np.argmin(found))
        line = int(np.argmax(np.frombuffer(impressions.shared, dtype=np.int32) == code)) + 1
        raise FileError(
            f"{skeleton}, line {line}: the common features {list(number)[code]!r} are not in {file}; {int((~found).sum())} of {len(found)}"
            " are missing. Do both files belong together, and is it whole?"
        )
    return out


def _lines(file: Path, names: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line, from 1, and its fields."""
    line = 0
    try:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else open(file, encoding="utf-8") as stream:
            for line, text in enumerate(stream, 1):
                parts = text.rstrip("\r\n").split(",")
                if len(parts) != len(names):
                    raise FileError(f"{file}, line {line}: {len(parts)} fields where {', '.join(names)} are {len(names)}. Is it truncated?")
                yield line, parts
    except (UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise FileError(f"{file} cannot be read after line {line}: {error}. Check it, or fetch it again.") from error
    if not line:
        raise FileError(f"{file} is empty: its lines are {', '.join(names)}.")


def _whole(file: Path, line: int, name: str, text: str, largest: int) -> int:
    value = int(text) if text.isdecimal() else -1
    if not 0 <= value <= largest:
        raise FileError(f"{file}, line {line}: {name} must be a whole number in 0..{largest}, not {text[:40]!r}.")
    return value


def _ids(file: Path, line: int, count: str, features: str, wanted: dict[str, int]) -> list[int]:
    """Return the id of each wanted field that has the largest value, -1 where there is none."""
    ids, largest = [_MISSING] * len(wanted), [-np.inf] * len(wanted)
    tokens = features.split("\x01") if features else []
    if len(tokens) < _whole(file, line, "n_features", count, _LARGEST):
        raise FileError(f"{file}, line {line}: {len(tokens)} features, but n_features is {count}. It may be truncated: fetch it again.")
    for token in tokens:
        name, separator, rest = token.partition("\x02")
        if not separator:
            raise FileError(rf"{file}, line {line}: a feature must be field \x02 id \x03 value, not {token[:40]!r}.")
        place = wanted.get(name)
        if place is None:
            continue
        feature, _, text = rest.partition("\x03")
        value = _number(text)
        if value > largest[place]:
            ids[place], largest[place] = _whole(file, line, name, feature, _LARGEST), value
        elif value != value:
            raise FileError(f"{file}, line {line}: the value of field {name} must be a number, not {text[:40]!r}.")
    return ids


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan
