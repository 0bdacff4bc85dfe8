"""Ids in text: whole numbers only where each is spelled as its number is, so that 01 and 1 stay two."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

IDS = ("page", "item", "query", "session", "user")
_BLOCK = 1 << 22  # bytes at once
_ZERO, _PLUS, _MINUS = b"0+-"
_DIGIT = np.isin(np.arange(256), list(b"0123456789"))


def id_columns(mapping: Mapping[str, str]) -> tuple[str, ...]:
    """Return the file's names of the columns that hold ids."""
    return tuple(mapping.get(name, name) for name in IDS)


def read_ids(file: Path, separator: str, frame: pd.DataFrame, ids: Sequence[str], n_lines: int | None) -> pd.DataFrame:
    """Return the table that pandas has read from a file with its ids as they are spelled, where numbers would lose that.

    Text is spelled as it was. So are whole numbers, unless some field of the file begins with a plus, with 0 and a digit, or with -0; only
    then, or where pandas took ids for anything else, the columns are read again.
    """
    there = [name for name in dict.fromkeys(ids) if name in frame.columns]
    numbers = [name for name in there if pd.api.types.infer_dtype(frame[name], skipna=True) != "string"]
    wholes = all(frame[name].dtype.kind in "iu" for name in numbers)
    if not numbers or (wholes and n_lines is None and not _odd_numbers(file, separator)):
        return frame
    again = pd.read_csv(file, sep=separator, usecols=numbers, dtype=str, nrows=n_lines)
    return frame.assign(**{name: _parsed(again[name]) for name in numbers})


def _parsed(values: pd.Series) -> np.ndarray:
    """Return ids as whole numbers where all are spelled as their numbers are, else as text; NaN where one is missing."""
    codes, distinct = pd.factorize(values)
    spelled = pd.Series(distinct, dtype=object)
    numbers = pd.to_numeric(spelled, errors="coerce")
    if len(spelled) and numbers.dtype.kind in "iu" and (codes >= 0).all() and (numbers.astype(str) == spelled.str.strip()).all():
        return numbers.to_numpy().take(codes)
    return np.append(spelled.to_numpy(), np.nan).take(codes)


def _odd_numbers(file: Path, separator: str) -> bool:
    """Tell whether some field of a file begins with a plus and a digit, with 0 and a digit, or with -0."""
    begins = np.isin(np.arange(256), [*b'\n\r" ', *separator.encode()])  # what stands before a field
    with gzip.open(file) if file.suffix == ".gz" else open(file, "rb") as stream:
        before = b"\n\n"
        while block := stream.read(_BLOCK):
            text = np.frombuffer(before + block, dtype=np.uint8)
            at = np.flatnonzero((text[2:-1] == _ZERO) | (text[2:-1] == _PLUS)) + 2
            negative = (text[at] == _ZERO) & (text[at - 1] == _MINUS) & begins[text[at - 2]]
            if (negative | (_DIGIT[text[at + 1]] & begins[text[at - 1]])).any():
                return True
            before = text[-3:].tobytes()
    return False
