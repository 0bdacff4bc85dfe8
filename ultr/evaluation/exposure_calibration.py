"""Do propensities of exposure agree with a slice in which pairs were drawn at random?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ultr.data.candidates import check_same_items
from ultr.data.checks import check_clicks, rows_are, within
from ultr.data.log import ClickLog
from ultr.data.popularity import kept_rows
from ultr.data.source import LogSource, gather
from ultr.errors import ConfigError, LogError

if TYPE_CHECKING:
    import pandas as pd

    from ultr.propensity.evaluate import AnyPropensity

_Z = 1.96


def propensity_calibration(
    log: LogSource, propensity: AnyPropensity, randomised: LogSource, *, bins: int = 5, n_pairs: int | None = None, seed: int = 0
) -> pd.DataFrame:
    """Compare propensities with the exposure that a randomised slice implies, pairs of like propensity together.

    Clicks on a random sample of pairs tell how many pairs are relevant; the log shows how many of these were clicked, so how many were
    exposed. A good propensity has `observed` near `propensity` in every bin; one that is wrong by a factor has a constant ratio, which
    self-normalised weights forgive; a ratio that changes along the bins says that exposure is more, or less, uneven than the propensity.

    Args:
        log: The biased log: page column user, column click; rows not listed are not clicked.
        propensity: A model, a column's name (then in both logs), or an estimator such as Popularity, which is fitted to `log`.
        randomised: Pairs drawn at random, whatever the user and the item, clicked or not; with the items of `log`.
        bins: Bins of about equal numbers of clicks in the slice, at least 1; fewer where many propensities are alike.
        n_pairs: Number of all pairs that could have been shown; None is the users of `log` times its items.
        seed: Of the estimator's fit.

    Returns:
        A line a bin, by rising propensity: `low` and `high` (the edges), `propensity` (the mean over the slice's clicks), `observed` (the
        implied share exposed; above 1 where the slice is too small, or no sample of the same pairs), `observed_low` and `observed_high`
        (95%, both counts taken for Poisson), `ratio` (observed over propensity), `clicks` and `randomised_clicks`.

    Raises:
        LogError: a column is missing, or the slice has fewer clicks than bins.
        PropensityError: a propensity is outside (0, 1].
        ConfigError: `bins` is no whole number of at least 1.
    """
    import pandas as pd

    from ultr.propensity.evaluate import estimated

    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 1:
        raise ConfigError(f"propensity_calibration: bins must be a whole number of at least 1, not {bins!r}.")
    if n_pairs is not None and not within(n_pairs, "[1, inf)"):
        raise ConfigError(f"propensity_calibration: n_pairs must be a number of at least 1, not {n_pairs!r}.")
    log, slice_ = gather(log), gather(randomised)
    check_same_items(log, slice_, "propensity_calibration: the log and the randomised slice")
    model = estimated(log, propensity, seed=seed)
    here, there = (_clicked(part, model) for part in (log, slice_))
    if len(there) < bins:
        raise LogError(f"propensity_calibration: the randomised slice has {len(there)} clicks, too few for {bins} bins: lower bins.")
    edges = np.unique(np.quantile(there, np.linspace(0, 1, bins + 1)[1:-1]))  # fewer, where many propensities are alike
    edges = edges[edges < there.max()]
    bins = len(edges) + 1
    in_log, in_slice = (np.bincount(np.searchsorted(edges, part, side="left"), minlength=bins) for part in (here, there))
    total = np.bincount(np.searchsorted(edges, there, side="left"), there, minlength=bins)
    if n_pairs is None:
        n_pairs = (int(_users(log).max(initial=-1)) + 1) * _n_items(log)
    with np.errstate(divide="ignore", invalid="ignore"):
        observed = in_log / (in_slice * (n_pairs / slice_.n_rows))
        spread = np.exp(_Z * np.sqrt(1 / in_log + 1 / in_slice))
        table = {
            "low": [0.0, *edges],
            "high": [*edges, 1.0],
            "propensity": total / in_slice,
            "observed": observed,
            "observed_low": observed / spread,
            "observed_high": observed * spread,
            "ratio": observed * in_slice / total,
            "clicks": in_log,
            "randomised_clicks": in_slice,
        }
    return pd.DataFrame(table)


def _clicked(log: ClickLog, model: AnyPropensity) -> np.ndarray:
    """Return the propensity of every pair of user and item that was clicked, each once; filtered rows are none."""
    from ultr.propensity.evaluate import propensities

    click = check_clicks(log.column("click", "propensity_calibration"), 1, rows_are(log.offsets)) > 0
    rows = np.flatnonzero(click & kept_rows(log))
    user = _users(log)[log.page_of_row()[rows]]
    first = np.unique(user * _n_items(log) + log.columns["item"][rows], return_index=True)[1]
    return propensities(log, model)[rows[first]].astype(np.float64)


def _users(log: ClickLog) -> np.ndarray:
    """Return the number of the user of each page, shape [P]; pages without one (None, NaN) are one user's."""
    from pandas import factorize

    return factorize(log.page_column("user", "propensity_calibration"), sort=True, use_na_sentinel=False)[0]


def _n_items(log: ClickLog) -> int:
    return len(log.items) if log.items is not None else int(log.columns["item"].max()) + 1
