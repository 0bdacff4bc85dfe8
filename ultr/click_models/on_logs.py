"""Click models on logs: the rows of a log laid out as pages by position, piece by piece, and the answers brought back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ultr.click_models.learning import Rows, clicks_of, padded, pieces, positions_of
from ultr.data.log import ClickLog
from ultr.errors import LogError

if TYPE_CHECKING:
    from ultr.click_models.base import ClickModel


@dataclass(frozen=True, eq=False)
class _Piece:
    """Some pages of a log.

    Args:
        rows: Which rows of the log.
        pages: Which pages of the log.
        cells: Page in the piece and position of each row.
        attraction: Shape [B, L].
        satisfaction: Shape [B, L]; None where there is none.
        mask: True where a row is shown, shape [B, L].
        clicks: Shape [B, L]; None where they were not asked for.
    """

    rows: slice
    pages: slice
    cells: tuple[np.ndarray, np.ndarray]
    attraction: np.ndarray
    satisfaction: np.ndarray | None
    mask: np.ndarray
    clicks: np.ndarray | None


def click_probability(
    model: ClickModel, log: ClickLog, attraction: np.ndarray, satisfaction: np.ndarray | None, given_clicks: bool
) -> np.ndarray:
    """Return P(click) of each row, given the clicks above or whatever they are, shape [N].

    Args:
        model: The law.
        log: With clicks, if they are given.
        attraction: P(click | examined) of each row, shape [N].
        satisfaction: P(satisfied | clicked) of each row, shape [N].
        given_clicks: Whether to read the clicks above.

    Raises:
        LogError: clicks are missing, positions do not rise within a page, or pages stand for several and the law needs each one.
    """
    out = np.empty(log.n_rows)
    for piece in _pieces(model, log, attraction, satisfaction, given_clicks and not model.independent_rows):
        if piece.clicks is None:
            p = model.marginal(piece.attraction, piece.satisfaction, piece.mask)
        else:
            p = model.conditional(piece.attraction, piece.clicks, piece.satisfaction, piece.mask)
        out[piece.rows] = p[piece.cells]
    return out


def examination(
    model: ClickModel, log: ClickLog, attraction: np.ndarray, satisfaction: np.ndarray | None, given_clicks: bool
) -> np.ndarray:
    """Return P(examined) of each row, given the clicks above or whatever they are, shape [N]; otherwise as `click_probability`."""
    out = np.empty(log.n_rows)
    for piece in _pieces(model, log, attraction, satisfaction, given_clicks and not model.independent_rows):
        if piece.clicks is None:
            p = model.marginal_examination(piece.attraction, piece.satisfaction, piece.mask)
        else:
            p = model.examination_given(piece.attraction, piece.clicks, piece.satisfaction, piece.mask)
        out[piece.rows] = p[piece.cells]
    return out


def log_likelihood(model: ClickModel, log: ClickLog, attraction: np.ndarray, satisfaction: np.ndarray | None) -> np.ndarray:
    """Return the log-probability of each page's clicks, nats, shape [P]; of all shows of a page that stands for several."""
    if log.compressed and model.independent_rows:
        click, n = clicks_of(log, type(model).__name__), np.repeat(log.counts, log.lengths)
        p = click_probability(model, log, attraction, satisfaction, given_clicks=False)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(click > 0, click * np.log(p), 0) + np.where(n > click, (n - click) * np.log1p(-p), 0)
        return np.bincount(log.page_of_row(), terms, len(log))
    out = np.empty(len(log))
    for piece in _pieces(model, log, attraction, satisfaction, clicks=True):
        if piece.clicks is not None:
            out[piece.pages] = model.log_likelihood(piece.attraction, piece.clicks, piece.satisfaction, piece.mask)
    return out


def _pieces(model: ClickModel, log: ClickLog, attraction: np.ndarray, satisfaction: np.ndarray | None, clicks: bool) -> Iterator[_Piece]:
    by = type(model).__name__
    if clicks and log.compressed:
        raise LogError(
            f"{by} needs every page by itself: which clicks came together is lost where a page stands for several (page column 'count')."
            " Give the log as it was before compress()."
        )
    row = page = 0
    for part in pieces(log):
        rows, pages = slice(row, row + part.n_rows), slice(page, page + len(part))
        row, page = rows.stop, pages.stop
        position = positions_of(part, by)
        coded = Rows(part.offsets, position, position, position)
        width = int(position.max(initial=-1)) + 1
        mask = padded(coded, np.ones(part.n_rows, dtype=bool), width)
        yield _Piece(
            rows=rows,
            pages=pages,
            cells=(coded.of_pages(np.arange(len(part))), position),
            attraction=padded(coded, attraction[rows], width),
            satisfaction=None if satisfaction is None else padded(coded, satisfaction[rows], width),
            mask=mask,
            clicks=padded(coded, clicks_of(part, by), width) if clicks else None,
        )
