"""Does a propensity model keep its contract?"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ultr.data.checks import rows_are
from ultr.data.log import ClickLog
from ultr.errors import ContractError
from ultr.propensity.evaluate import PropensityModel, as_propensity, propensities
from ultr.testing.contract import calling, demand, demand_equal, untouched_generators, untouched_log
from ultr.testing.tiny import tiny_log
from ultr.training.batch import Batch

_PAGES = 40  # pages tried


def check_propensity(model: PropensityModel | str | np.ndarray | Sequence[float], log: ClickLog | None = None) -> None:
    """Check a propensity model: a function of a batch, an nn.Module, an array by position or a column's name.

    1. It returns a floating-point tensor of the batch's shape [B, L], for any number of pages and rows.
    2. Every shown row has a finite value in (0, 1]; what stands in the padding is free.
    3. The same batch gives the same values again; no global random generator is touched.
    4. It works without gradients, and writes neither into the batch nor into the log.
    5. A page's values depend neither on the padding nor on the other pages of the batch, nor on where it stands in the batch.
    6. A row's value depends on its logged position, not on where it stands in the page: rows may come in any order.

    Args:
        model: The model. A module is copied and evaluated, not changed.
        log: Pages to try it on, where it reads columns that `tiny_log()` lacks or knows fewer than 5 positions (`tiny_log(rows=3)`); its
            first 40 pages are used.

    Raises:
        ContractError: the first rule that is broken.
    """
    with calling("Reading the model"):
        function = as_propensity(model)
    if isinstance(function, torch.nn.Module):
        function = copy.deepcopy(function).eval()
    log = tiny_log() if log is None else log
    log = log.take(np.arange(min(_PAGES, len(log))))
    check_log, where = untouched_log(log, "The model"), rows_are(log.offsets)
    with untouched_generators("The model"):
        values = _values(function, log)
        again = _values(function, log)
    check_log()
    demand_equal(values, again, "The model gives other values when it is called again", where, rounding=0)
    with calling("ultr.propensity.propensities(log, model)"):
        demand_equal(values, propensities(log, model), "The model gives other values in blocks of pages", where)
    alone = np.concatenate([_values(function, log.take(np.array([page]))) for page in np.flatnonzero(log.lengths)])
    demand_equal(
        values, alone, "A page's propensity depends on the padding or on the other pages of the batch (in the batch, and alone)", where
    )
    if "position" in log.columns:
        _check_row_order(function, log, values)


def _check_row_order(function: PropensityModel, log: ClickLog, values: np.ndarray) -> None:
    """Turn the rows of each page round; their positions stay as logged."""
    rows = np.lexsort((-np.arange(log.n_rows), log.page_of_row()))
    turned = ClickLog(log.offsets, {name: column[rows] for name, column in log.columns.items()}, log.page_columns, log.items)
    moved = np.empty_like(values)
    moved[rows] = _values(function, turned)
    broken = "A row's propensity depends on its place in the page, not on batch.position (in order, and with the rows turned round)"
    demand_equal(values, moved, broken, rows_are(log.offsets))


def _values(function: PropensityModel, log: ClickLog) -> np.ndarray:
    """Call the model on all pages at once and return the values of the shown rows, float64, shape [N]."""
    batch, fresh = Batch(log), Batch(log)
    with torch.no_grad(), calling("The model", "Give log= with the columns and positions that it needs."):
        values = function(batch)
    shape = tuple(fresh.mask.shape)
    if not isinstance(values, Tensor):
        raise ContractError(f"A propensity model returns a tensor of shape {shape}, not {type(values).__name__}.")
    demand(values.shape == shape, f"A propensity model returns one value a row, shape {shape}, not {tuple(values.shape)}.")
    demand(values.is_floating_point(), f"A propensity model returns floating-point numbers, not {values.dtype}.")
    for name in ("item", "position", "mask", "features"):
        ours, theirs = getattr(fresh, name), getattr(batch, name)
        demand(ours is None or torch.equal(ours, theirs), f"The model writes into batch.{name}: work on a copy.")
    flat = values[fresh.mask].double().numpy()
    bad = ~((flat > 0) & (flat <= 1))
    if bad.any():
        at = int(np.argmax(bad))
        raise ContractError(
            f"propensity must be in (0, 1]: {rows_are(log.offsets)(at)} has {flat[at]};"
            f" {int(bad.sum())} of {len(flat)} rows are out of range."
        )
    return flat
