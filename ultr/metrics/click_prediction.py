"""How well a click model predicts the clicks of a log: log-likelihood and perplexity, rank by rank."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from ultr.data.checks import check_clicks, rows_are
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, need_source
from ultr.errors import LogError

if TYPE_CHECKING:
    import pandas as pd


class ClickPredictor(Protocol):
    """A fitted click model, or a click model on a log that knows the truth."""

    def click_probability(self, log: ClickLog, *, given_clicks: bool = True) -> np.ndarray:
        """Return P(click) of each row, given the clicks above or whatever they are, shape [N]."""


def log_likelihood(model: ClickPredictor, log: LogSource) -> pd.DataFrame:
    """Mean log-probability of what happened on a row, clicked or not.

    Args:
        model: What `ultr.click_models.fit` returns; or a click model, for a log with the true `relevance` (and `satisfaction`).
        log: Column `click`, in the order that was clicked on. Pages that stand for several count as often as they were shown. A log on
            disk is read chunk by chunk.

    Returns:
        Nats a row, at most 0. A line for each rank and the line "all", the mean over all rows; columns `conditional` (given the clicks
        above), `marginal` (whatever they are) and `rows` (how often the rank was shown). A rank is only judged on pages that reach it.
        What happened although its probability is 0 gives -inf.

    Raises:
        LogError: the log has no row, clicks are missing or wrong, positions do not rise within a page, or pages stand for several and
            the model needs each of them.
    """
    sums, rows = _by_rank(model, log)
    overall = {name: values.sum() / rows.sum() for name, values in sums.items()}
    return _table({name: values / rows.to_numpy() for name, values in sums.items()}, overall, rows)


def perplexity(model: ClickPredictor, log: LogSource) -> pd.DataFrame:
    """exp(- mean log-probability) of what happened on a row: 1 for a model that is always right and sure, 2 for a coin.

    Args:
        model: See `log_likelihood`.
        log: See `log_likelihood`.

    Returns:
        A line for each rank and the line "all", the mean over the ranks, of which each counts once as the literature has it. Columns and
        pages as for `log_likelihood`; what happened although its probability is 0 gives inf.

    Raises:
        LogError: see `log_likelihood`.

    Source:
        Reconstructed from the definitions in Chuklin, Markov and de Rijke (2015), Click Models for Web Search, chapter 5,
        doi:10.2200/S00654ED1V01Y201507ICR043.

    Differs:
        Ranks that no page reaches are left out of the mean, and short pages out of the ranks that they do not reach.
    """
    sums, rows = _by_rank(model, log)
    values = {name: np.exp(-total / rows.to_numpy()) for name, total in sums.items()}
    return _table(values, {name: value.mean() for name, value in values.items()}, rows)


def _table(values: dict[str, np.ndarray], overall: dict[str, float], rows: pd.Series) -> pd.DataFrame:
    import pandas as pd

    index = pd.Index([*rows.index, "all"], dtype=object, name="rank")
    return pd.DataFrame({name: [*value, overall[name]] for name, value in values.items()} | {"rows": [*rows, rows.sum()]}, index=index)


def _by_rank(model: ClickPredictor, log: LogSource) -> tuple[dict[str, np.ndarray], pd.Series]:
    """Sum up log-probabilities by rank, for the ranks that were shown; and how often they were."""
    import pandas as pd

    sums = np.zeros((3, 0))
    for chunk in need_source(log).chunks():
        if chunk.n_rows:
            piece = _sums(model, chunk)
            sums = np.pad(sums, ((0, 0), (0, max(0, piece.shape[1] - sums.shape[1]))))
            sums[:, : piece.shape[1]] += piece
    rows, conditional, marginal = sums
    if not sums.shape[1]:
        raise LogError("There is no row to judge clicks on: the log is empty.")
    shown = np.flatnonzero(rows)
    return {"conditional": conditional[shown], "marginal": marginal[shown]}, pd.Series(rows[shown], index=shown + 1)


def _sums(model: ClickPredictor, log: ClickLog) -> np.ndarray:
    """Return how often each rank was shown, and its summed log-probabilities given the clicks above and without, shape [3, ranks]."""
    n = np.repeat(log.counts, log.lengths)
    click = check_clicks(log.column("click", "log_likelihood"), n, rows_are(log.offsets)).astype(np.float64)
    place = log.columns["position"] if "position" in log.columns else log.slots()
    sums = [np.bincount(place, n)]
    for given in (True, False):
        p = model.click_probability(log, given_clicks=given)
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = np.where(click > 0, click * np.log(p), 0) + np.where(n > click, (n - click) * np.log1p(-p), 0)
        sums.append(np.bincount(place, terms))
    return np.stack(sums)
