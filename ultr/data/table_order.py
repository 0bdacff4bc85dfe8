"""The order of a long table as a log: pages and items numbered and rows sorted by DuckDB, then streamed as pieces of the log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ultr.data.checks import spelled
from ultr.data.frame import check_log, what_varies
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of, slots
from ultr.data.table_lines import Lines, fetch, one, stream
from ultr.errors import LogError

_ROWS = 1 << 20  # rows a piece of the log; more where a page is longer


@dataclass(frozen=True, eq=False)
class OrderedTable:
    """A long table as a log that is streamed from DuckDB; make it with `ordered`.

    Args:
        lines: The lines; in the same database are `pages` and `rows`, both in the order of the log.
        page_columns: Names of the page columns, besides the page itself.
        row_columns: Names of the row columns, besides item and position.
        numbers: Number of the item behind each code in `rows`, int32, shape [I].
        items: The items.
        told: Called with the number of rows of each piece that was read.
    """

    lines: Lines
    page_columns: tuple[str, ...]
    row_columns: tuple[str, ...]
    numbers: np.ndarray
    items: Items
    told: Callable[[int], object]

    def chunks(self) -> Iterator[ClickLog]:
        """Iterate over pieces of whole pages; a session may be cut, the writer puts it together."""
        connection, lines = self.lines.connection, self.lines
        names = ", ".join(["page", *map(lines.sql, self.page_columns)])
        pages = stream(connection.cursor().sql(f"SELECT n, {names} FROM pages"))
        rows = _Rows(
            stream(connection.cursor().sql(f"SELECT {', '.join(['item', 'position', *map(lines.sql, self.row_columns)])} FROM rows"))
        )
        for batch in pages:
            lengths = batch.column("n").to_numpy()
            for start, end in _cuts(lengths):
                log = self._log(pa.Table.from_batches([batch.slice(start, end - start)]), rows.take(int(lengths[start:end].sum())))
                self.told(log.n_rows)
                yield log

    def shards(self, n: int) -> Sequence[OrderedTable]:
        """Refuse: the pieces stand in one order.

        Raises:
            LogError: always.
        """
        raise LogError("A table that is being imported has no shards: write it first, then open the log.")

    def _log(self, pages: pa.Table, rows: pa.Table) -> ClickLog:
        lines = self.lines
        offsets = offsets_of(pages.column("n").to_numpy())
        position = rows.column("position").to_numpy() if lines.has("position") else slots(offsets).astype(np.int32)
        columns = {"item": self.numbers[rows.column("item").to_numpy()], "position": position}
        columns |= {name: lines.column(name).values(rows.column(lines.sql(name))) for name in self.row_columns}
        of_page = {"page": lines.column("page").values(pages.column("page"))}
        of_page |= {name: lines.column(name).values(pages.column(lines.sql(name))) for name in self.page_columns}
        return check_log(ClickLog(offsets, columns, of_page, self.items))


class _Rows:
    """A stream of batches from which any number of rows is taken."""

    def __init__(self, batches: pa.RecordBatchReader) -> None:
        self._batches, self._rest = batches, batches.schema.empty_table()

    def take(self, n: int) -> pa.Table:
        """Return the next n rows."""
        waiting, rows = [self._rest], self._rest.num_rows
        while rows < n:
            batch = self._batches.read_next_batch()
            waiting.append(pa.Table.from_batches([batch]))
            rows += batch.num_rows
        table = pa.concat_tables(waiting)
        self._rest = table.slice(n)
        return table.slice(0, n)


def _cuts(lengths: np.ndarray) -> Iterator[tuple[int, int]]:
    """Cut pages to runs of about `_ROWS` rows."""
    ends, start = np.cumsum(lengths), 0
    while start < len(lengths):
        before = int(ends[start] - lengths[start])
        end = max(start + 1, int(np.searchsorted(ends, before + _ROWS, side="right")))
        yield start, end
        start = end


def ordered(
    lines: Lines, page_columns: Sequence[str], features: Sequence[str], first_position: int, told: Callable[[int], object]
) -> OrderedTable:
    """Sort the lines: pages in order of first appearance, session by session where there are sessions, rows by position.

    Args:
        lines: Lines that were checked.
        page_columns: Columns that are constant within a page, besides those that always are.
        features: Columns that become features of the items.
        first_position: What the table calls the first position.
        told: Called with the number of rows of each piece that is read.

    Raises:
        LogError: a page column varies, lines of a page are apart and have no positions, positions are doubled, or an item has two feature
            vectors.
    """
    of_page = lines.of_page(page_columns)
    _number_pages(lines, of_page)
    keys = [lines.sql(name) for name in ("item", *(["query"] if features and lines.has("query") else []))]
    _find_items(lines, keys, features)
    of_row = [column.name for column in lines.columns if column.name not in ("page", "item", "position", *of_page, *features)]
    _sort_rows(lines, keys, of_row, first_position)
    order = fetch(lines.connection.sql("SELECT item FROM (SELECT item, min(rowid) AS head FROM rows GROUP BY item) ORDER BY head"))
    codes = order.column("item").to_numpy()
    numbers = np.empty(len(codes), np.int32)
    numbers[codes] = np.arange(len(codes), dtype=np.int32)
    return OrderedTable(lines, tuple(of_page), tuple(of_row), numbers, _items(lines, codes, numbers, features), told)


def _number_pages(lines: Lines, of_page: Sequence[str]) -> None:
    """Make the table `pages`: a page's number is its `rowid`."""
    page, execute = lines.sql("page"), lines.connection.execute
    columns = list(map(lines.sql, of_page))
    hashed = f"hash({', '.join(columns)})" if columns else "0"
    values = "".join(f", min({x}) AS {x}" for x in columns)
    execute(
        f"CREATE TABLE grouped AS SELECT {page} AS page, count(*) AS n, min(rowid) AS head, max(rowid) AS tail,"
        f" min({hashed}) <> max({hashed}) AS varies{values} FROM lines GROUP BY ALL"
    )
    if one(lines.connection, "SELECT bool_or(varies) FROM grouped")[0]:
        _refuse_varying(lines, of_page)
    if not lines.has("position"):
        _check_adjacent(lines)
    order = "g.head"
    if lines.has("session"):
        session = lines.sql("session")
        execute(f"CREATE TABLE sessions AS SELECT {session} AS session, min(head) AS head FROM grouped GROUP BY ALL")
        order = f"(SELECT s.head FROM sessions s WHERE s.session = g.{session}), g.head"
    execute(f"CREATE TABLE pages AS SELECT page, n{''.join(f', {x}' for x in columns)} FROM grouped g ORDER BY {order}")
    execute("DROP TABLE grouped")


def _refuse_varying(lines: Lines, of_page: Sequence[str]) -> None:
    page = lines.sql("page")
    for name in of_page:
        x = lines.sql(name)
        bad = (
            f"SELECT l.rowid AS line FROM lines l JOIN grouped g ON g.page = l.{page} JOIN lines h ON h.rowid = g.head"
            f" WHERE g.varies AND l.{x} <> h.{x}"
        )

        def value(line: int, name: str = name) -> str:
            return f"{lines.place(line)}: it has {spelled(lines.value(name, line))}"

        lines.refuse(bad, f"page column {name!r} must be constant within a page", what_varies(name), value)


def _check_adjacent(lines: Lines) -> None:
    """Refuse pages whose lines are apart: nothing says in which order they were shown."""
    page = lines.sql("page")
    if not one(lines.connection, "SELECT count(*) FROM grouped WHERE tail - head + 1 <> n")[0]:
        return
    back = one(
        lines.connection,
        f"SELECT min(l.rowid) FROM lines l JOIN grouped g ON g.page = l.{page} JOIN lines before ON before.rowid = l.rowid - 1"
        f" WHERE g.tail - g.head + 1 <> g.n AND l.rowid > g.head AND before.{page} <> l.{page}",
    )[0]
    raise LogError(
        f"Lines of a page must be adjacent where the table has no column 'position': {lines.place(back, page=False)} goes back to page"
        f" {lines.value('page', back)}. Sort the table by page, or give 'position'."
    )


def _find_items(lines: Lines, keys: Sequence[str], features: Sequence[str]) -> None:
    """Make the table `items`: an item's code, in no order yet, is its `rowid`."""
    floats = [f"CAST({lines.sql(name)} AS FLOAT)" for name in features]
    hashed = f"hash({', '.join(f'{x} + 0' for x in floats)})" if floats else "0"  # -0.0 is 0.0
    lines.connection.execute(
        f"CREATE TABLE items AS SELECT {', '.join(keys)}, min(rowid) AS head, min({hashed}) <> max({hashed}) AS varies FROM lines"
        " GROUP BY ALL"
    )
    if not one(lines.connection, "SELECT bool_or(varies) FROM items")[0]:
        return
    for name, x in zip(features, floats, strict=True):
        here, there = x.replace("CAST(", "CAST(l."), x.replace("CAST(", "CAST(h.")
        bad = (
            f"SELECT l.rowid AS line FROM lines l JOIN items i ON {_same(keys)} JOIN lines h ON h.rowid = i.head"
            f" WHERE i.varies AND {here} <> {there}"
        )

        def value(line: int, name: str = name) -> str:
            where = " AND ".join(f"{key} = (SELECT {key} FROM lines WHERE rowid = {line})" for key in keys)
            head = one(lines.connection, f"SELECT head FROM items WHERE {where}")[0]
            values = (np.asarray(lines.value(name, at), np.float32) for at in (head, line))
            return "{}: item {} had {}, now it has {}".format(lines.place(line), lines.value("item", line), *values)

        lines.refuse(
            bad,
            f"feature {name!r} of an item must be the same on all its lines (of one query, where there is a column 'query')",
            "Use features that do not change between impressions, or make the item id say which version was shown.",
            value,
        )


def _same(keys: Sequence[str]) -> str:
    return " AND ".join(f"i.{key} = l.{key}" for key in keys)


def _sort_rows(lines: Lines, keys: Sequence[str], of_row: Sequence[str], first_position: int) -> None:
    """Make the table `rows`: item (its code), position from 0, the other columns, and the line that a row was."""
    position = f"CAST(CAST(l.{lines.sql('position')} AS DOUBLE) - {first_position} AS INTEGER)" if lines.has("position") else "0"
    others = "".join(f", l.{lines.sql(name)}" for name in of_row)
    lines.connection.execute(
        f"CREATE TABLE rows AS SELECT CAST(i.rowid AS INTEGER) AS item, {position} AS position{others}, l.rowid AS line, p.rowid AS page"
        f" FROM lines l JOIN items i ON {_same(keys)} JOIN pages p ON p.page = l.{lines.sql('page')}"
        " ORDER BY p.rowid, position, l.rowid"
    )
    if lines.has("position"):
        before = "lag(page) OVER () = page AND lag(position) OVER () = position"
        lines.refuse(
            f"SELECT line FROM (SELECT line, {before} AS doubled FROM rows) WHERE doubled",
            "positions on a page must be distinct",
            "Keep one line per shown row.",
            lambda line: f"{lines.place(line)} has {lines.value('position', line)}",
        )


def _items(lines: Lines, codes: np.ndarray, numbers: np.ndarray, features: Sequence[str]) -> Items:
    """Return the items in the order in which the log shows them first."""
    item = lines.column("item")
    ids = item.values(fetch(lines.connection.sql(f"SELECT {lines.sql('item')} AS x FROM items")).column("x"))[codes]
    if not features:
        return Items(ids=ids)
    values = np.empty((len(codes), len(features)), np.float32)
    names = ", ".join(f"CAST(l.{lines.sql(name)} AS FLOAT) AS f{i}" for i, name in enumerate(features))
    for batch in stream(lines.connection.sql(f"SELECT i.rowid AS code, {names} FROM lines l JOIN items i ON i.head = l.rowid")):
        at = numbers[batch.column("code").to_numpy()]
        for i in range(len(features)):
            values[at, i] = batch.column(f"f{i}").to_numpy()
    return Items(values, ids, tuple(features))
