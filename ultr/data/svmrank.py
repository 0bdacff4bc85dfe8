"""Learning-to-rank files: SVMrank / LETOR lines with qid, and LightGBM's pair of a file and its group sizes."""

from __future__ import annotations

import gzip
import io
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np

from ultr.data.checks import MAX_GRADE, find_file
from ultr.data.padded import offsets_of
from ultr.data.ranking import RankingData
from ultr.errors import FileError

MAX_FEATURE = 1 << 16  # a wider table would not fit in memory as a dense array
_BLOCK = 1 << 14  # documents a step
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_ONE_A_LINE = bytes.maketrans(b" \t\r\v\f", b"\n\n\n\n\n")
_DENSE_ENOUGH = 20  # documents with equally many features before a shorter last line counts as cut


@dataclass(frozen=True, eq=False)
class _Block:
    """Some consecutive documents; all arrays but `features` have shape [d]."""

    lines: np.ndarray  # line numbers in the file
    features: np.ndarray  # [d, 1 + largest feature], float32; column 0 is feature 0
    listed: np.ndarray  # how many features the line lists
    grades: np.ndarray
    has_qid: np.ndarray
    qids: np.ndarray  # 0 where there is none
    uses_zero: bool
    ended: bool  # the last line has a line end


def load_svmrank(path: str | Path, group_path: str | Path | None = None, n_features: int | None = None) -> RankingData:
    """Read a learning-to-rank file, one document a line: `grade qid:1 1:0.2 3:1 # comment`.

    A feature that a line does not list is 0, LETOR's convention for a missing feature. Features count from 1, unless one line of the
    file uses feature 0: then they count from 0. (A file that counts from 0 and never uses feature 0 looks like one that counts from 1:
    list `0:0` on one of its lines.) Blank lines and lines that hold a comment only are skipped.

    Args:
        path: A plain file or a `.gz`; where `path` is missing but `path.gz` is there, that one is read.
        group_path: For a file without qid (LightGBM's examples): the file with the number of documents of each query, one a line,
            in the order of the documents. When None it is looked for beside the file, as `path.query`, then `path.group`.
        n_features: Width of the result; zeros fill features that never occur, so that a training and a test set agree.
            The largest feature of the file when None.

    Returns:
        The queries in the order of the file. Their ids are the qids, or 0, 1, 2, ... where sizes of groups are given.

    Raises:
        FileError: the file is missing, empty, truncated or no such file; a token, feature or grade is malformed; only some lines have a
            qid; the lines of a query are not adjacent; group sizes do not fit.

    Source:
        Joachims (2006), KDD, doi:10.1145/1150402.1150429 (the format); Qin and Liu (2013), LETOR 4.0, arXiv:1306.2597 (its use).
    """
    file = find_file(path)
    blocks = list(_blocks(file))
    if not blocks:
        raise FileError(f"{file} has no document: it is empty or holds comments only.")
    lines = np.concatenate([block.lines for block in blocks])
    _check_last_line(file, blocks, int(lines[-1]))
    if any(block.has_qid.any() for block in blocks):
        offsets, query_ids = _queries_of_qids(file, blocks, lines, group_path)
    else:
        offsets, query_ids = _queries_of_groups(file, group_path, len(lines))
    grades = np.concatenate([block.grades for block in blocks])
    return RankingData(_joined(file, blocks, n_features), grades, offsets, query_ids)


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that hold more than a comment, with their numbers from 1."""
    number = 0
    try:
        with _open(file) as stream:
            for number, line in enumerate(stream, 1):
                if line.partition(b"#")[0].strip():
                    yield number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(f"{file} cannot be read after line {number}: {error}. Check it, or fetch it again.") from error


def _open(file: Path) -> IO[bytes]:
    return gzip.open(file) if file.suffix == ".gz" else open(file, "rb")  # type: ignore[return-value]


def _blocks(file: Path) -> Iterator[_Block]:
    lines = _lines(file)
    while block := list(islice(lines, _BLOCK)):
        yield _parse(file, [number for number, _ in block], [line for _, line in block])


def _parse(file: Path, numbers: list[int], lines: list[bytes]) -> _Block:
    """Parse documents all at once; where that fails, or gives what is no grade or feature, say which line is at fault."""
    try:
        grade, qid, listing = zip(*map(_parts, lines), strict=True)
        grades, qids = np.array(grade), np.array([number or 0 for number in qid], dtype=np.int64)
        feature, value = _pairs(b" ".join(listing))
    except (ValueError, OverflowError) as error:
        raise _first_fault(file, numbers, lines) or FileError(f"{file}, lines {numbers[0]} to {numbers[-1]}: {error}") from error
    listed = np.array([text.count(b":") for text in listing])
    row = np.repeat(np.arange(len(lines)), listed)
    whole = (grades >= 0) & (grades <= MAX_GRADE) & (grades == np.floor(grades))
    known = (feature >= 0) & (feature <= MAX_FEATURE) & np.isfinite(value)
    rises = (np.diff(feature) > 0) | (row[1:] != row[:-1])
    if not (whole.all() and known.all() and rises.all()):
        raise _first_fault(file, numbers, lines) or FileError(f"{file}, lines {numbers[0]} to {numbers[-1]}: malformed.")
    features = np.zeros((len(lines), 1 + int(feature.max(initial=0))), dtype=np.float32)
    features[row, feature] = value
    return _Block(
        lines=np.array(numbers),
        features=features,
        listed=listed,
        grades=grades.astype(np.int32),
        has_qid=np.array([number is not None for number in qid]),
        qids=qids,
        uses_zero=bool((feature == 0).any()),
        ended=lines[-1].endswith(b"\n"),
    )


def _parts(line: bytes) -> tuple[float, int | None, bytes]:
    """Split a line into its grade, its qid if it has one, and the features it lists."""
    line = line.partition(b"#")[0]
    head = line.split(None, 2)
    if len(head) > 1 and head[1].startswith(b"qid:"):
        return float(head[0]), int(head[1][4:]), head[2] if len(head) > 2 else b""
    return float(head[0]), None, line.split(None, 1)[1] if len(head) > 1 else b""


def _pairs(text: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Parse `feature:value` pairs between white space as a table of two columns."""
    from pyarrow import csv, float32, int32

    text = text.translate(_ONE_A_LINE)
    if not text.strip():
        return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32)
    table = csv.read_csv(
        io.BytesIO(text),
        csv.ReadOptions(column_names=["feature", "value"]),
        csv.ParseOptions(delimiter=":", quote_char=False),
        csv.ConvertOptions(column_types={"feature": int32(), "value": float32()}, null_values=[]),
    )
    return table["feature"].to_numpy(), table["value"].to_numpy()


def _first_fault(file: Path, numbers: list[int], lines: list[bytes]) -> FileError | None:
    """Look for the first malformed line, slowly."""
    for number, line in zip(numbers, lines, strict=True):
        fault = _fault(line.partition(b"#")[0].decode("utf-8", "replace").split())
        if fault:
            cut = "" if line.endswith(b"\n") else " It is the last line and has no line end: the file may be truncated."
            return FileError(f"{file}, line {number}: {fault}{cut}")
    return None


def _fault(tokens: list[str]) -> str | None:
    """Say what is wrong with the tokens of a line, if anything is."""
    grade = _number(tokens[0])
    if grade is None:
        return f"{tokens[0]!r} stands where the grade should: a line looks like '2 qid:1 1:0.5 2:0'."
    if not (0 <= grade <= MAX_GRADE and grade == math.floor(grade)):
        return f"the grade is {tokens[0]}, but must be a whole number in 0..{MAX_GRADE}. Map grades to 0, 1, 2, ... first."
    last = -1
    for token in tokens[1:]:
        name, colon, value = token.partition(":")
        if name == "qid" and colon and token is tokens[1]:
            if not _is_whole(value):
                return f"{token!r} must be 'qid:' and a whole number. Number the queries first."
            continue
        if not colon or not (name.isascii() and name.isdecimal()):
            return f"{token!r} is not 'feature:value' with a whole number for the feature."
        if int(name) > MAX_FEATURE:
            return f"feature {name} is beyond {MAX_FEATURE}: a table that wide cannot be dense. Select or hash features first."
        if int(name) <= last:
            return f"feature {name} stands after feature {last}: the features of a line must rise."
        number = _number(value)
        if number is None or not abs(number) <= _FLOAT32_MAX:
            return f"feature {name} is {value!r}, but must be a finite number. Leave a missing feature out (it reads as 0)."
        last = int(name)
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal() and len(text) <= 20 and abs(int(text)) < 2**63


def _check_last_line(file: Path, blocks: list[_Block], line: int) -> None:
    """Refuse a last line without a line end that lists fewer features than all other lines, which list equally many."""
    if blocks[-1].ended:
        return
    listed = np.concatenate([block.listed for block in blocks])
    most = int(listed[0])
    if len(listed) > _DENSE_ENOUGH and (listed[:-1] == most).all() and listed[-1] < most:
        raise FileError(
            f"{file}, line {line}: the last line has no line end and {listed[-1]} features where all others have {most}: the file is"
            " truncated. Fetch it again, or end the line if it is meant so."
        )


def _queries_of_qids(file: Path, blocks: list[_Block], lines: np.ndarray, group_path: str | Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Return query boundaries and ids from the qids."""
    has = np.concatenate([block.has_qid for block in blocks])
    if not has.all():
        odd = int(np.argmax(has != has[0]))
        what = "no qid" if has[0] else "a qid"
        raise FileError(
            f"{file}, line {lines[odd]} has {what}, unlike the lines above it; {has.sum()} of {len(has)} lines have one."
            " Give it to all or none."
        )
    if group_path is not None:
        raise FileError(f"{file} has qids, which say where queries begin: leave group_path out.")
    qids = np.concatenate([block.qids for block in blocks])
    starts = np.flatnonzero(np.append(True, qids[1:] != qids[:-1]))
    _, first = np.unique(qids[starts], return_index=True)
    back = np.delete(starts, first)
    if len(back):
        raise FileError(
            f"{file}, line {lines[back[0]]}: qid {qids[back[0]]} comes back after other queries; qids do so {len(back)} times."
            " Sort the file by qid."
        )
    return np.append(starts, len(qids)), qids[starts]


def _queries_of_groups(file: Path, group_path: str | Path | None, n_documents: int) -> tuple[np.ndarray, np.ndarray]:
    """Return query boundaries and numbers from a file of group sizes."""
    group_file = _companion(file) if group_path is None else find_file(group_path)
    sizes = []
    for number, line in _lines(group_file):
        text = line.partition(b"#")[0].decode("utf-8", "replace").strip()
        if not _is_whole(text) or int(text) < 1:
            raise FileError(f"{group_file}, line {number}: {text!r} must be a whole number of documents, 1 or more.")
        sizes.append(int(text))
    if sum(sizes) != n_documents:
        raise FileError(
            f"{group_file} gives {len(sizes)} queries {sum(sizes)} documents, but {file} has {n_documents}: one of the two is truncated, or"
            " they do not belong together."
        )
    return offsets_of(np.array(sizes)), np.arange(len(sizes))


def _companion(file: Path) -> Path:
    """Find the file of group sizes that stands beside a file without qid."""
    stems = dict.fromkeys((str(file).removesuffix(".gz"), str(file)))
    names = [f"{stem}{suffix}{packed}" for suffix in (".query", ".group") for stem in stems for packed in ("", ".gz")]
    for name in names:
        if Path(name).is_file():
            return Path(name)
    raise FileError(f"{file} has no qid, and there is no {names[0]} beside it (nor .group, nor .gz). Give group_path.")


def _joined(file: Path, blocks: list[_Block], n_features: int | None) -> np.ndarray:
    """Return the features of all blocks as one table, shape [D, F]."""
    first = 0 if any(block.uses_zero for block in blocks) else 1
    used = max(block.features.shape[1] for block in blocks) - first
    width = used if n_features is None else n_features
    if width == 0:
        raise FileError(f"{file} lists no feature on any line: there is nothing to rank by.")
    if used > width:
        raise FileError(f"{file} uses feature {used + first - 1}, so n_features must be at least {used}, not {n_features}.")
    out = np.zeros((sum(len(block.grades) for block in blocks), width), dtype=np.float32)
    row = 0
    for block in blocks:
        features = block.features[:, first:]
        out[row : row + len(features), : features.shape[1]] = features
        row += len(features)
    return out
