"""Does an estimator keep its contract?"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickletools
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ultr.data.checks import rows_are
from ultr.data.log import ClickLog
from ultr.data.source import Chunked, LogSource
from ultr.errors import ConfigError, ContractError
from ultr.models.files import load
from ultr.testing.contract import calling, demand, demand_equal, untouched_generators, untouched_log
from ultr.testing.tiny import tiny_log
from ultr.training.batch import Batch

_ROW = "ultr.row"  # tells where a row stood before `apply`
_LABELS = ("click", "conversion", "grade", "rating", "relevance")


class Fitted(Protocol):
    """What `fit` returns."""

    def apply(self, log: ClickLog) -> ClickLog:
        """Return the log reranked, or with predicted columns."""

    def save(self, path: Path) -> None:
        """Write it as a folder, without pickle."""


class Estimator(Protocol):
    """Frozen settings that can be fitted."""

    def fit(self, source: LogSource, *, seed: int = 0) -> Fitted:
        """Fit to a log."""


def check_estimator(estimator: Estimator, log: ClickLog | None = None) -> None:
    """Check an estimator, ours or a user's; fits it five times, so give settings that train for a few steps.

    1. It is a frozen dataclass whose settings are all keyword-only, and `seed` is a keyword of `fit`.
    2. `fit(log, seed=)` returns a new object with `apply` and `save`; the same seed gives the same one, bit for bit.
    3. `fit(Chunked(log, 7), seed=)`, the same log in pieces, gives an equal one.
    4. Fitting changes neither the log, nor the settings, nor modules among them; `apply` does not change the log.
    5. The global random generators of Python, NumPy and torch are as they were after fit, apply, save and load.
    6. `apply` keeps the pages, their rows and what is known of each row, and adds a column; no prediction depends on the other pages.
    7. What has been saved and loaded gives equal predictions, and nothing in the folder is a pickle. (An estimator given an nn.Module
       may refuse to save with ConfigError.)
    8. A log without any positive label, a log without label columns and an empty log are refused with ValueError.
    9. Where the fitted object has them: `score(batch)` [B, L] is close to `score_log(log)` [N], `apply` ranks by it, and `propensity` is
       an array by position whose first known entry is 1.

    Whether every setting has an effect is not checked: only a test of the estimator itself can know what effect.

    Args:
        estimator: The settings.
        log: What to fit to, where it needs columns that `tiny_log()` lacks.

    Raises:
        ContractError: the first rule that is broken.
    """
    _check_settings(estimator)
    log = tiny_log() if log is None else log
    name, check_log = type(estimator).__name__, untouched_log(log, type(estimator).__name__)
    values = {field.name: getattr(estimator, field.name) for field in dataclasses.fields(estimator)}  # type: ignore[arg-type]
    settings = {setting: (value, _remember(value)) for setting, value in values.items()}
    hint = f"Give log= if it needs other columns than {', '.join([*log.columns, *log.page_columns])}."
    fits: list[Fitted] = []
    for source in (log, log, Chunked(log, 7)):
        with untouched_generators(f"{name}.fit"), calling(f"{name}.fit on {type(source).__name__}", hint):
            fits.append(estimator.fit(source, seed=0))
    check_log()
    for setting, (value, before) in settings.items():
        demand(_remember(value) == before, f"{name}.fit changes its setting {setting!r}: copy it first (copy.deepcopy).")
    demand(fits[0] is not fits[1] and fits[0] is not estimator, f"{name}.fit must return a new object each time.")
    predictions = [_applied(name, fitted, log) for fitted in fits]
    check_log()
    _demand_same(name, log, predictions[0], predictions[1], "a second fit with the same seed", rounding=0)
    _demand_same(name, log, predictions[0], predictions[2], "a fit on the same log in chunks")
    with untouched_generators(f"{name}.fit"), calling(f"{name}.fit with another seed"):
        estimator.fit(log, seed=1)
    _check_pages_alone(name, fits[0], log, predictions[0])
    _check_saved(name, fits[0], log, predictions[0])
    _check_refusals(name, estimator, log)
    _check_ranker(name, fits[0], log)


def _check_settings(estimator: Estimator) -> None:
    name = type(estimator).__name__
    frozen = dataclasses.is_dataclass(estimator) and estimator.__dataclass_params__.frozen
    demand(frozen and not isinstance(estimator, type), f"An estimator is an instance of a frozen dataclass, not {estimator!r}.")
    by_place = [p.name for p in inspect.signature(type(estimator)).parameters.values() if p.kind is not p.KEYWORD_ONLY]
    demand(not by_place, f"{name}: settings are keyword-only, but {', '.join(by_place)} can be given by place: @dataclass(kw_only=True).")
    fit = getattr(estimator, "fit", None)
    demand(callable(fit), f"{name} has no method fit(log, *, seed).")
    seed = inspect.signature(estimator.fit).parameters.get("seed")
    demand(
        seed is not None and seed.kind is seed.KEYWORD_ONLY,
        f"{name}.fit must have a keyword-only argument seed: fit(self, source, *, seed=0).",
    )


def _remember(value: object) -> object:
    """Return something that is equal to itself later if and only if the setting has not changed."""
    if isinstance(value, torch.nn.Module):
        state = {key: tensor.detach().cpu().numpy().tobytes() for key, tensor in value.state_dict().items()}
        return state, [(part.training, next(part.parameters(), torch.zeros(())).device) for part in value.modules()]
    if isinstance(value, np.ndarray):
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().numpy().tobytes()
    return copy.deepcopy(value) if isinstance(value, (list, dict, set)) else id(value)


def _applied(name: str, fitted: Fitted, log: ClickLog) -> dict[str, np.ndarray]:
    """Apply to the log, check what comes back, and return the new columns in the order of the log's rows."""
    marked = log.with_columns(**{_ROW: np.arange(log.n_rows)})
    for method in ("apply", "save"):
        demand(callable(getattr(fitted, method, None)), f"What {name}.fit returns has no method {method}.")
    check = untouched_log(marked, f"{name}: apply")
    with untouched_generators(f"{name}: apply"), calling(f"{name}: apply"):
        out = fitted.apply(marked)
    check()
    demand(isinstance(out, ClickLog), f"{name}: apply must return a ClickLog, not {type(out).__name__}.")
    same = np.array_equal(out.offsets, log.offsets) and out.page_columns.keys() >= log.page_columns.keys()
    same = same and all(np.array_equal(out.page_columns[key], values) for key, values in log.page_columns.items())
    demand(same, f"{name}: apply must keep the pages and their columns.")
    demand(_ROW in out.columns, f"{name}: apply drops row columns.")
    row = out.columns[_ROW]
    kept = np.array_equal(np.sort(row), np.arange(log.n_rows)) and np.array_equal(log.page_of_row()[row], log.page_of_row())
    demand(kept, f"{name}: apply must keep every page's rows on that page.")
    for column, values in log.columns.items():
        demand(column in out.columns, f"{name}: apply drops the column {column!r}.")
        demand_equal(values[row], out.columns[column], f"{name}: apply changes the column {column!r}", rows_are(log.offsets), rounding=0)
    new = {column: np.empty_like(values) for column, values in out.columns.items() if column not in marked.columns}
    demand(bool(new), f"{name}: apply adds no column; a ranker adds 'score' (log.rerank), others their predictions.")
    for column, values in new.items():
        values[row] = out.columns[column]
    return new


def _demand_same(
    name: str, log: ClickLog, first: dict[str, np.ndarray], second: dict[str, np.ndarray], what: str, rounding: float = 1e-5
) -> None:
    demand(first.keys() == second.keys(), f"{name}: {what} predicts {', '.join(second)}, not {', '.join(first)}.")
    for column, values in first.items():
        demand_equal(values, second[column], f"{name}: {what} gives another {column!r}", rows_are(log.offsets), rounding)


def _check_pages_alone(name: str, fitted: Fitted, log: ClickLog, expected: dict[str, np.ndarray]) -> None:
    some = np.arange(min(12, len(log)))
    parts = [_applied(name, fitted, log.take(np.array([page]))) for page in some]
    found = {column: np.concatenate([part[column] for part in parts]) for column in expected}
    first = {column: values[: log.offsets[len(some)]] for column, values in expected.items()}
    _demand_same(name, log, first, found, "a page applied alone")


def _check_saved(name: str, fitted: Fitted, log: ClickLog, expected: dict[str, np.ndarray]) -> None:
    read: Callable[[Path], Fitted] = getattr(fitted, "load", load)
    with tempfile.TemporaryDirectory() as folder, untouched_generators(f"{name}: save or load"):
        path = Path(folder) / "model"
        try:
            fitted.save(path)
        except ConfigError:
            return
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file():
                pickled = _reads_as_pickle(file.read_bytes()) or zipfile.is_zipfile(file)  # zip: what torch.save writes
                demand(not pickled, f"{name}: save writes a pickle, {file.name}: reading one can run any code. Use safetensors and JSON.")
        with calling(f"{name}: load"):
            loaded = read(path)
        _demand_same(name, log, expected, _applied(name, loaded, log), "the model saved and loaded", rounding=0)


def _reads_as_pickle(content: bytes) -> bool:
    """Whether the bytes are a pickle; its first byte alone may as well be the header length of a safetensors file."""
    if content[:1] != b"\x80":
        return False
    try:
        for _ in pickletools.genops(content):
            pass
    except ValueError:
        return False
    return True


def _check_refusals(name: str, estimator: Estimator, log: ClickLog) -> None:
    labels = {*_LABELS, str(getattr(estimator, "label", "click"))} & set(log.columns)
    without = ClickLog(log.offsets, {k: v for k, v in log.columns.items() if k not in labels}, log.page_columns, log.items)
    refused = {
        "a log in which every label is 0": log.with_columns(**{label: np.zeros_like(log.columns[label]) for label in labels}),
        "a log without label columns": without,
        "an empty log": log.take(np.arange(0)),
    }
    for what, bad in refused.items():
        try:
            estimator.fit(bad, seed=0)
        except ValueError:
            continue
        except Exception as error:
            raise ContractError(f"{name}.fit on {what} must raise ValueError, not {type(error).__name__}: {error}") from error
        raise ContractError(f"{name}.fit on {what} must raise ValueError and say what is missing.")


def _check_ranker(name: str, fitted: Fitted, log: ClickLog) -> None:
    if not hasattr(fitted, "score_log"):
        return
    with calling(f"{name}: score_log"):
        scores = np.asarray(fitted.score_log(log))
    demand(scores.shape == (log.n_rows,) and bool(np.isfinite(scores).all()), f"{name}: score_log must return finite numbers, one a row.")
    expected = log.rerank(scores).columns["item"]
    demand(np.array_equal(fitted.apply(log).columns["item"], expected), f"{name}: apply must rank by score_log.")
    if hasattr(fitted, "score"):
        batch = Batch(log)
        with calling(f"{name}: score"):
            found = fitted.score(batch)
        shape = tuple(batch.mask.shape)
        demand(isinstance(found, torch.Tensor) and found.shape == shape, f"{name}: score must return a tensor of shape {shape}.")
        close = np.allclose(found.detach()[batch.mask].double(), scores, rtol=1e-3, atol=1e-4)
        demand(close, f"{name}: score(batch) and score_log(log) must give the same scores up to rounding.")
    propensity = getattr(fitted, "propensity", None)
    if propensity is not None:
        known = np.asarray(propensity, dtype=np.float64)
        demand(known.ndim == 1, f"{name}: propensity must be an array by position, not shape {known.shape}.")
        known = known[~np.isnan(known)]
        demand(
            len(known) > 0 and known[0] == 1 and bool((known > 0).all()),
            f"{name}: propensity must be positive, relative to its first entry.",
        )
