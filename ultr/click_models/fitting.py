"""Fit a click model to a log."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from ultr.click_models.base import ClickModel
from ultr.click_models.fitted import FittedClickModel
from ultr.click_models.learning import COLUMNS, Learner, Prior, Rows, clicks_of, learn, pieces, positions_of
from ultr.click_models.mixture import Mixture
from ultr.click_models.rates import Rates
from ultr.data.counts import Pairs
from ultr.data.parquet import ParquetLog
from ultr.data.source import need_source
from ultr.engine.base import Engine, need_engine
from ultr.errors import ConfigError, LogError, UltrWarning

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ultr.data.source import LogSource


def fit(
    law: ClickModel | type[ClickModel],
    log: LogSource,
    *,
    max_iter: int = 1000,
    tol: float = 1e-7,
    query: str | None = "query",
    prior: Sequence[float] = (0.25, 0.75),
    progress: bool = False,
    engine: Engine | None = None,
) -> FittedClickModel:
    """Fit a click model to a log by expectation maximisation: the law's parameters, and an attraction for each (query, item).

    What users saw is expected given the whole page. The penalised likelihood, `objectives` of what is returned, never falls from one
    step to the next. Laws without hidden events, the click-through rates and the cascade, are counted in one step.

    Where examination depends on the position (PositionBased, UserBrowsing, TrustBias), only swaps of items over positions tell it from
    attraction: ask `ultr.evaluation.identifiability(log)`. The likelihood of TrustBias is flat: it gains little a step for long, so give it
    a small `tol`. A pair that was hardly shown gets the mean of the prior; set it near the click rate at the top.

    Args:
        law: A class, or an object to start from (a `Mixture` has to be one). A parameter that starts at exactly 0 or 1 stays there.
        log: Clicks in the order they were made in: positions rise within a page where they are logged. Pages that stand for several
            (`compress`) are taken by laws in which rows are independent.
        max_iter: Most steps, from 0: none returns what learning starts from, counts as if users stopped at their last click. That is
            what the papers on DCM and SDBN estimate; it is not the most likely value, since users also stop without a click.
        tol: Smallest gain of a step, nats a row; learning ends below it.
        query: Page column with the query; None where items attract alike whatever the query.
        prior: Clicks and skips that each attraction has seen beforehand, both above 0: what a pair that was never shown gets is
            clicks / (clicks + skips), and rare pairs stay near it. Satisfactions have seen as much, half of it satisfied.
        progress: Show a progress bar on stderr.
        engine: Where the steps of chain laws run, which go through the log again and again: this process when None. The result is the
            same, bit for bit. Other laws take sums over the log, whose length costs a step nothing.

    Returns:
        The fitted model.

    Raises:
        ConfigError: a setting is out of range, or a mixture is given as a class.
        LogError: a column is missing, positions do not rise, there is no click, or a law that needs every page meets a compressed log.
        PropensityError: a law to start from covers fewer positions than the log has.
        ContractError: the law is no click model of ultr.

    Warns:
        UltrWarning: learning ended at `max_iter` steps; or clicks that a cascade rules out.
    """
    by, settings = f"fit({_name(law)}, ...)", _settings(law, max_iter, tol, prior)
    learner = law._learner()
    learner.engine = need_engine(engine) or learner.engine
    rates = Rates(law.rates_by, Pairs(query))
    n_rows, n_clicks, width = _read(learner, rates, log, by)
    if n_clicks == 0:
        raise LogError(f"{by} has nothing to learn from: the log has {n_rows:.0f} rows and no click.")
    if isinstance(law, ClickModel):
        law.marginal(np.zeros(width), np.zeros(width))  # says so if it covers fewer positions
    caution = learner.caution()
    if caution is not None:
        warnings.warn(caution, UltrWarning, stacklevel=2)
    start = learner.start(None if isinstance(law, type) else law, settings, len(rates))
    learned = learn(learner, start, settings, n_rows, max_iter, tol, progress)
    if not learned.converged and max_iter > 0:
        gain = (learned.objectives[-1] - learned.objectives[-2]) / n_rows
        warnings.warn(
            f"{by} ended after max_iter={max_iter} steps; the last one still gained {gain:.1e} nats a row, tol is {tol:.0e}.",
            UltrWarning,
            stacklevel=2,
        )
    state = learner.normalised(learned.state) if isinstance(law, type) else learned.state
    return FittedClickModel(
        model=state.law,
        rates=rates,
        attractions=state.attraction,
        satisfactions=state.satisfaction,
        prior=(settings.clicks, settings.skips),
        log_likelihoods=learned.log_likelihoods,
        objectives=learned.objectives,
        converged=learned.converged,
        n_rows=n_rows,
        propensity=learner.propensity(state.law),
    )


@runtime_checkable
class ClickModelFit(Protocol):
    """Settings that say how a click model is fitted, such as ClickModelRanker."""

    def fit(self, source: LogSource, *, seed: int = 0) -> FittedClickModel:
        """Fit the click model."""


def fitted_law(law: FittedClickModel | ClickModelFit | ClickModel | type[ClickModel], log: LogSource) -> FittedClickModel:
    """Return a click model fitted to the log; one that has been fitted comes back as it is."""
    if isinstance(law, FittedClickModel):
        return law
    if isinstance(law, ClickModelFit) and not isinstance(law, (type, ClickModel)):
        return law.fit(log)
    return fit(law, log)  # type: ignore[arg-type]  # a class of something else is refused there


def _read(learner: Learner, rates: Rates, log: LogSource, by: str) -> tuple[float, float, int]:
    """Give the learner the log, piece by piece; return how many rows and clicks it has, and how many positions.

    Rows and clicks of a page that stands for several count several times.
    """
    n_rows, n_clicks, width = 0.0, 0.0, 0
    if isinstance(log, ParquetLog):
        log = log.project([name for name in (*COLUMNS, rates.pairs.query_column) if name in log.column_names])
    for chunk in need_source(log).chunks():
        if chunk.compressed and not learner.linear:
            raise LogError(
                f"{by} needs every page by itself: which clicks came together is lost where a page stands for several (page column"
                " 'count'). Give the log as it was before compress(), or fit a law in which rows are independent."
            )
        for piece in pieces(chunk):
            click, position = clicks_of(piece, by), positions_of(piece, by)
            weight = piece.counts if piece.compressed else None
            rows = Rows(piece.offsets, rates.add(piece, position, by), position, click, weight)
            learner.add(rows)
            n_rows += piece.n_rows if weight is None else float(piece.lengths @ weight)
            n_clicks += float(click.sum())
            width = max(width, int(position.max(initial=-1)) + 1)
    return n_rows, n_clicks, width


def _settings(law: ClickModel | type[ClickModel], max_iter: int, tol: float, prior: Sequence[float]) -> Prior:
    if law is Mixture:
        raise ConfigError("A Mixture is fitted from an object, which says what is mixed: fit(Mixture([...], weights), log).")
    if not isinstance(law, ClickModel) and not (isinstance(law, type) and issubclass(law, ClickModel)):
        raise ConfigError(f"law must be a click model, a class such as PositionBased or an object, not {law!r}.")
    if isinstance(max_iter, bool) or not isinstance(max_iter, (int, np.integer)) or max_iter < 0:
        raise ConfigError(f"max_iter must be a whole number of at least 0, not {max_iter!r}.")
    if not tol >= 0:
        raise ConfigError(f"tol must be at least 0 nats a row, not {tol!r}.")
    values = tuple(prior)
    if len(values) != 2 or not all(0 < value < np.inf for value in values):
        raise ConfigError(f"prior must be two numbers above 0, clicks and skips seen beforehand, not {prior!r}.")
    return Prior(float(values[0]), float(values[1]))


def _name(law: object) -> str:
    return law.__name__ if isinstance(law, type) else type(law).__name__
