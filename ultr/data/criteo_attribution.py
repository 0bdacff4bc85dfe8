"""Criteo's attribution data: 30 days of displayed banners, as journeys that ended in a conversion or not, and as impressions."""

from __future__ import annotations

import warnings
import zlib
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from ultr.data.checks import find_file
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.errors import ConfigError, FileError, UltrWarning
from ultr.imports import nearest

Touches = Literal["clicks", "impressions"]

_DAY = 86_400.0  # seconds
_WINDOW = 30.0  # days after an impression in which the file counts conversions
_CATEGORIES = tuple(f"cat{i}" for i in range(1, 10))
_FLAGS = ("conversion", "attribution", "click")
_DTYPES = {
    **dict.fromkeys(("timestamp", "conversion_timestamp", "time_since_last_click"), "int32"),
    **dict.fromkeys(("uid", "campaign", "conversion_id", *_CATEGORIES), "int64"),
    **dict.fromkeys(_FLAGS, "int8"),
    **dict.fromkeys(("cost", "cpo"), "float32"),
}
_BLOCK = 1 << 20  # lines at once when a wrong one is looked for


def load_criteo_attribution(path: str | Path, touches: Touches = "clicks") -> ClickLog:
    """Read the banners shown to users as journeys, for the rules of `ultr.attribution`.

    A journey is what a user met of one conversion, told by its `conversion_id`; what led to no conversion is one more journey of the
    user. Everything is held in memory: about 250 bytes a line, 4 GB for the 16.5 million lines of the whole file.

    Args:
        path: criteo_attribution_dataset.tsv, plain or `.gz`, with its header.
        touches: What counts as a touch: "clicks", as in the file's own click_pos and click_nb, or all "impressions".

    Returns:
        A page for every journey with a touch, in the order of their first ones; touches are in the order of time. Columns item (the
        campaign), time (days), click, attribution (1 where the conversion was credited to Criteo), cost, cpo and cat1 to cat9. Page
        columns user, converted (0 or 1), conversion_id (-1 without) and conversion_time (days, NaN without). `log.items` has the
        campaigns' ids. Touches after the conversion of their journey are dropped, with a warning that says how many.

    Raises:
        FileError: the file is missing, empty, truncated or no such table, a value is malformed, or nothing is left.
        ConfigError: `touches` is neither.

    Source:
        Diemert, Meynet, Galland and Lefortier (2017), "Attribution modeling increases efficiency of bidding in display advertising",
        AdKDD. arXiv:1707.06409. Columns as the readme of the data set describes them.

    Differs:
        The data do not tell journeys that did not convert apart: all of a user's are one here.
    """
    if touches not in get_args(Touches):
        raise ConfigError(f"load_criteo_attribution: touches must be 'clicks' or 'impressions', not {touches!r}.")
    file = find_file(path)
    frame = _read(file)
    if touches == "clicks":
        frame = frame[frame["click"] == 1]
    late = ((frame["conversion"] == 1) & (frame["timestamp"] > frame["conversion_timestamp"])).to_numpy()
    if late.any():
        message = f"{file}, line {frame.index[int(np.argmax(late))]}: a touch after its conversion; dropped {late.sum()} of {len(late)}."
        warnings.warn(message, UltrWarning, stacklevel=2)
        frame = frame[~late]
    if not len(frame):
        raise FileError(f"{file}: no touch is left. With touches='clicks' a touch is a line whose click is 1.")
    return _journeys(frame)


def load_criteo_impressions(path: str | Path) -> ClickLog:
    """Read the same file with one impression a page, for the estimators of conversions.

    Args:
        path: As for `load_criteo_attribution`.

    Returns:
        One row a page, in the order of the file. Columns item (the campaign), click, conversion (1 where the impression was clicked and a
        conversion followed within 30 days), time (days), attribution, cost, cpo, cat1 to cat9 and time_since_last_click (days, NaN where
        there is none). Page column user. `log.items` has the campaigns' ids. Clicked impressions whose conversion came before them, or more
        than 30 days after, are dropped, with a warning that says how many.

    Raises:
        FileError: as `load_criteo_attribution`.

    Differs:
        The file's own `conversion` also marks impressions that were not clicked.
    """
    file = find_file(path)
    frame = _read(file)
    delay = (frame["conversion_timestamp"].astype("int64") - frame["timestamp"]) / _DAY
    odd = ((frame["conversion"] == 1) & (frame["click"] == 1) & ~delay.between(0, _WINDOW)).to_numpy()
    if odd.any():
        line = int(np.argmax(odd))
        warnings.warn(
            f"{file}, line {frame.index[line]}: a conversion {delay.iloc[line]:g} days after the impression, not in 0..{_WINDOW:g};"
            f" dropped {odd.sum()} of {len(odd)}.",
            UltrWarning,
            stacklevel=2,
        )
        frame = frame[~odd]
    if not len(frame):
        raise FileError(f"{file}: no impression is left. Are conversion_timestamp and timestamp in seconds from the same start?")
    columns, items = _columns(frame)
    columns["conversion"] = (frame["conversion"] * frame["click"]).to_numpy()
    since = frame["time_since_last_click"].to_numpy()
    columns["time_since_last_click"] = np.where(since < 0, np.nan, since / _DAY)
    return ClickLog(np.arange(len(frame) + 1), columns, {"user": frame["uid"].to_numpy()}, items)


def _journeys(frame: pd.DataFrame) -> ClickLog:
    """Make a page of the touches that share user and conversion."""
    code = frame.groupby(["uid", "conversion_id"], sort=False).ngroup().to_numpy()
    order = np.lexsort((frame["timestamp"], code))
    offsets = offsets_of(np.bincount(code))
    columns, items = _columns(frame.iloc[order])
    first = frame.iloc[order[offsets[:-1]]]
    converted = first["conversion"].to_numpy()
    pages = {"user": first["uid"].to_numpy(), "converted": converted, "conversion_id": first["conversion_id"].to_numpy()}
    pages["conversion_time"] = np.where(converted == 1, first["conversion_timestamp"] / _DAY, np.nan)
    return ClickLog(offsets, columns, pages, items)


def _columns(frame: pd.DataFrame) -> tuple[dict[str, np.ndarray], Items]:
    """Return the row columns that both views have, and the campaigns."""
    item, campaigns = pd.factorize(frame["campaign"], sort=True)
    columns: dict[str, np.ndarray] = {"item": item.astype(np.int32), "time": frame["timestamp"].to_numpy() / _DAY}
    columns |= {name: frame[name].to_numpy() for name in ("click", "attribution", "cost", "cpo", *_CATEGORIES)}
    return columns, Items(ids=np.asarray(campaigns))


def _read(file: Path) -> pd.DataFrame:
    """Read and check the columns that are needed; the index is the number of the line, from 1."""
    try:
        header = pd.read_csv(file, sep="\t", header=None, nrows=2, dtype=str, keep_default_na=False).iloc[0].tolist()
        for name in _DTYPES:
            if name not in header:
                raise FileError(f"{file} has no column {name!r}.{nearest(name, header)} Its header is: {', '.join(header)}.")
        try:
            with np.errstate(invalid="ignore"):  # of a missing or infinite whole number, which is refused anyway
                frame = pd.read_csv(file, sep="\t", usecols=list(_DTYPES), dtype=_DTYPES, skip_blank_lines=False)
        except (ValueError, OverflowError) as error:  # some value is no such number: which one?
            _refuse_wrong_number(file)
            raise FileError(f"{file} cannot be read: {error}.") from error
    except pd.errors.EmptyDataError:
        raise FileError(f"{file} is empty: it needs a header and one line an impression.") from None
    except (pd.errors.ParserError, UnicodeDecodeError, OSError, EOFError, zlib.error) as error:
        raise FileError(f"{file} cannot be read: {str(error).strip()}. It may be truncated, or no table: check it.") from error
    if not len(frame):
        raise FileError(f"{file} has a header, but no impression.")
    frame.index = pd.RangeIndex(2, 2 + len(frame))
    _check(file, frame)
    return frame


def _refuse_wrong_number(file: Path) -> None:
    """Raise FileError for the first line with a value that does not fit its column."""
    line = 2
    with pd.read_csv(file, sep="\t", usecols=list(_DTYPES), dtype=str, skip_blank_lines=False, chunksize=_BLOCK) as blocks:
        for block in blocks:
            for name, dtype in _DTYPES.items():
                numbers, whole = pd.to_numeric(block[name], errors="coerce").to_numpy(np.float64), dtype.startswith("int")
                fits = np.isfinite(numbers)
                if whole:
                    fits &= (numbers == np.floor(numbers)) & (np.abs(numbers) <= np.iinfo(dtype).max)
                if not fits.all():
                    row, what = int(np.argmin(fits)), f"a{' whole' if whole else ''} number"
                    found = f"not {block[name].iloc[row]!r}" if isinstance(block[name].iloc[row], str) else "but it is missing"
                    raise FileError(f"{file}, line {line + row}: {name} must be {what}, {found}. The file may be truncated.")
            line += len(block)


def _check(file: Path, frame: pd.DataFrame) -> None:
    """Refuse values that contradict what a column means."""
    converted = frame["conversion"] == 1
    rules = {name: (~frame[name].isin((0, 1)), "must be 0 or 1") for name in _FLAGS}
    rules |= {name: (~np.isfinite(frame[name]), "must be a finite number") for name in ("cost", "cpo")}
    rules["conversion_id"] = (converted != (frame["conversion_id"] >= 0), "must be -1 exactly where conversion is 0")
    rules["conversion_timestamp"] = (converted & (frame["conversion_timestamp"] < 0), "must be known where conversion is 1")
    for name, (bad, rule) in rules.items():
        if bad.any():
            row, count = int(np.argmax(bad)), int(bad.sum())
            found = f"{frame[name].iloc[row]}; {count} of {len(bad)} {'is' if count == 1 else 'are'} wrong"
            raise FileError(f"{file}, line {frame.index[row]}: {name} {rule}, not {found}.")
