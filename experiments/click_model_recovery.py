"""Does every click model find itself again in its own clicks?

python experiments/click_model_recovery.py [--pages 200000] [--seeds 3] [--write]

Claim: fitted to 200,000 pages of its own simulation over 2,000 (query, item) pairs, each law predicts new clicks nearly as well as the
truth does: held-out log-likelihood within three times (number of parameters / 2 rows) nats a row of the true model's, three times what
the best fit is expected to lose; and the parameters that clicks can tell come back within TOLERANCE.

What clicks can tell: the examination of the position-based and the user browsing model up to a factor, so ratios to the first entry are
compared; with trust bias attraction up to an affine map, so slope and intercept of the click probability in the true attraction are.
The rarest event that decides a parameter, a last click far above in the user browsing model, happens to 8,000 users, half of whom see a
row that attracts: a standard error of about .01. TOLERANCE is five of them. Rates of all rows and by position are left out: with one
parameter and ten a loss of three times its mean is no rare event.

Attractions of single pairs are noisier: their root mean square error is compared with the one that the clicks on the pair's own rows
allow if the law is known (Fisher information, given the clicks above), and may be ATTRACTION times as large. Satisfaction is compared
with counting satisfied clicks, which nobody sees: SATISFACTION times.

Pages show 10 of 20 documents in random order: with one fixed order a query, clicks could not tell attraction from position.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import simulators
import ultr
from ultr.click_models import (
    Cascade,
    ClickChain,
    ClickModel,
    DependentClick,
    DynamicBayesian,
    ItemRankRate,
    ItemRate,
    Mixture,
    PositionBased,
    SimplifiedDynamicBayesian,
    TrustBias,
    UserBrowsing,
    fit,
)
from ultr.click_models.fitted import FittedClickModel
from ultr.errors import UltrWarning

QUERIES, DOCUMENTS, ROWS = 100, 20, 10
ALLOWED = 3.0  # times (parameters / 2 rows) nats a row
TOLERANCE, ATTRACTION, SATISFACTION = 0.05, 1.2, 2.0
LIMITS = {
    "loss_share": ALLOWED,
    "parameter_error": TOLERANCE,
    "attraction_error": ATTRACTION,
    "satisfaction_error": SATISFACTION,
}
RANK = np.arange(1, ROWS + 1)
THETA = 1 / RANK**0.7
BROWSING = np.tril(1 / (1 + np.abs(RANK[:, None] - np.arange(ROWS))) ** 0.5)
Parameters = Callable[[ClickModel], np.ndarray]


@dataclass(frozen=True)
class Case:
    """A true law, what learning starts from, and its own parameters in the form in which clicks can tell them."""

    truth: ClickModel
    start: ClickModel | type[ClickModel]
    parameters: Parameters
    n_parameters: int


def lower(model: ClickModel) -> np.ndarray:
    table: np.ndarray = model.examination[np.tril_indices(ROWS)]
    return table / table[0]


def mixed(model: ClickModel) -> np.ndarray:
    theta = model.models[0].examination
    return np.array([*model.weights, *(theta / theta[0]), model.models[1].continuation])


NONE: Parameters = lambda model: np.zeros(0)  # noqa: E731
CASES = {
    "PositionBased": Case(PositionBased(THETA), PositionBased, lambda m: m.examination / m.examination[0], ROWS),
    "TrustBias": Case(TrustBias(THETA, 1 - RANK / 50, 0.65 / RANK), TrustBias, NONE, 2 * ROWS),
    "Cascade": Case(Cascade(), Cascade, NONE, 0),
    "DependentClick": Case(DependentClick(0.9 - RANK / 20), DependentClick, lambda m: m.continuation[:-1], ROWS - 1),
    "SimplifiedDynamicBayesian": Case(SimplifiedDynamicBayesian(), SimplifiedDynamicBayesian, NONE, 0),
    "DynamicBayesian": Case(DynamicBayesian(0.9), DynamicBayesian, lambda m: np.array([m.continuation]), 1),
    "ClickChain": Case(
        ClickChain(0.95, 0.7, 0.3), ClickChain, lambda m: np.array([m.tau_skip, m.tau_click_irrelevant, m.tau_click_relevant]), 3
    ),
    "UserBrowsing": Case(UserBrowsing(BROWSING), UserBrowsing, lower, ROWS * (ROWS + 1) // 2),
    "Mixture": Case(
        Mixture([PositionBased(THETA), DynamicBayesian(0.9)], [0.4, 0.6]),
        Mixture([PositionBased(0.95 * THETA**0.5), DynamicBayesian(0.7)], [0.5, 0.5]),
        mixed,
        ROWS + 2,
    ),
    "ItemRate": Case(ItemRate(), ItemRate, NONE, 0),
    "ItemRankRate": Case(ItemRankRate(), ItemRankRate, NONE, 0),
}


@dataclass(frozen=True)
class World:
    """Documents with an attraction and a satisfaction each, the same for every law."""

    data: ultr.RankingData
    attraction: np.ndarray
    satisfaction: np.ndarray

    @classmethod
    def make(cls, seed: int) -> World:
        rng = np.random.default_rng(seed)
        n = QUERIES * DOCUMENTS
        data = ultr.RankingData(rng.normal(size=(n, 2)), np.zeros(n, dtype=int), np.arange(0, n + 1, DOCUMENTS))
        return cls(data, rng.uniform(0.05, 0.95, n), rng.uniform(0.1, 0.9, n))

    def log(self, law: ClickModel, n_pages: int, seed: int) -> ultr.ClickLog:
        return simulators.simulate_clicks(
            self.data,
            policy=simulators.RandomPolicy(),
            n_pages=n_pages,
            click_model=law,
            relevance=lambda grades: self.attraction,
            satisfaction=(lambda grades: self.satisfaction) if law.reads_satisfaction else None,
            seed=seed,
        )


def true_likelihood(law: ClickModel, log: ultr.ClickLog) -> float:
    """Log-likelihood of the truth, nats a row."""
    columns = {name: log.columns[name].reshape(-1, ROWS).astype(float) for name in ("relevance", "satisfaction") if name in log.columns}
    clicks = log.columns["click"].reshape(-1, ROWS)
    return float(law.log_likelihood(columns["relevance"], clicks, columns.get("satisfaction")).sum()) / log.n_rows


def aligned(case: Case, found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Map attractions to the scale of the true ones where clicks leave it open."""
    if isinstance(case.truth, TrustBias):
        return np.polynomial.Polynomial.fit(found, truth, 1)(found)
    if isinstance(case.truth, (PositionBased, UserBrowsing)):
        return found * (found @ truth) / (found @ found)
    return found


def information(law: ClickModel, log: ultr.ClickLog, n: int) -> np.ndarray:
    """What the clicks on its rows say about each document's attraction, the law and the clicks above given, shape [n]."""
    columns = {name: log.columns[name].reshape(-1, ROWS).astype(float) for name in ("relevance", "satisfaction") if name in log.columns}
    arguments = columns["relevance"], log.columns["click"].reshape(-1, ROWS), columns.get("satisfaction")
    slope = law.alpha if isinstance(law, TrustBias) else law.examination_given(*arguments)
    p = law.conditional(*arguments)
    told = np.divide(slope**2, p * (1 - p), out=np.zeros_like(p), where=p > 0)
    return np.bincount(log.columns["item"], told.reshape(-1), n)


def pair_errors(case: Case, fitted: FittedClickModel, world: World, log: ultr.ClickLog) -> dict[str, float]:
    """Root mean square errors of attraction and satisfaction, as multiples of what the docstring above says."""
    if case.truth.rates_by != ("query", "item"):
        return {}
    table = fitted.table.sort_index()
    item = table.index.get_level_values("item").to_numpy()
    a = world.attraction[item]
    error = aligned(case, table["attraction"].to_numpy(), a) - a
    out = {"attraction_error": float(np.sqrt(np.mean(error**2) / np.mean(1 / information(case.truth, log, len(world.attraction))[item])))}
    if "satisfaction" in table:
        s = world.satisfaction[item]
        clicks = np.bincount(log.columns["item"], log.columns["click"], len(world.attraction))[item]
        out["satisfaction_error"] = float(np.sqrt(np.mean((table["satisfaction"].to_numpy() - s) ** 2) / np.mean(s * (1 - s) / clicks)))
    return out


def parameter_error(case: Case, fitted: FittedClickModel, world: World) -> float:
    """Largest error of the law's own parameters."""
    if isinstance(case.truth, TrustBias):
        table = fitted.table
        truth = world.attraction[table.index.get_level_values("item").to_numpy()]
        slope, intercept = np.polyfit(truth, table["attraction"], 1)
        alpha, beta = fitted.model.alpha * slope, fitted.model.beta + fitted.model.alpha * intercept
        return float(np.abs([alpha - case.truth.alpha, beta - case.truth.beta]).max())
    return float(np.abs(case.parameters(fitted.model) - case.parameters(case.truth)).max(initial=0.0))


def run(case: Case, n_pages: int, seed: int) -> dict[str, float | bool]:
    world = World.make(seed)
    log, test = world.log(case.truth, n_pages, 2 * seed), world.log(case.truth, n_pages, 2 * seed + 1)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UltrWarning)
        fitted = fit(case.start, log, max_iter=1000, tol=1e-8)
    seconds = time.perf_counter() - start
    rates = len(fitted.attractions) + (0 if fitted.satisfactions is None else len(fitted.satisfactions))
    loss = true_likelihood(case.truth, test) - float(fitted.log_likelihood(test).sum()) / test.n_rows
    return {
        "steps": fitted.n_iterations,
        "converged": fitted.converged,
        "seconds": round(seconds, 2),
        "loss_share": loss / ((case.n_parameters + rates) / (2 * log.n_rows)),
        "parameter_error": parameter_error(case, fitted, world),
        **pair_errors(case, fitted, world, log),
    }


def verdict(rows: list[dict[str, float | bool]]) -> dict[str, object]:
    """Summarise the seeds of one law by the worst of them, and say whether the claim holds."""
    worst = {name: max(float(row[name]) for row in rows) for name in rows[0] if name != "converged"}
    holds = all(worst.get(name, 0.0) <= limit for name, limit in LIMITS.items())
    return {**{name: round(value, 4) for name, value in worst.items()}, "converged": all(row["converged"] for row in rows), "holds": holds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=200_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=list(CASES))
    parser.add_argument("--write", action="store_true", help="write experiments/results/click_model_recovery.json")
    arguments = parser.parse_args()
    results = {}
    with threadpool_limits(1):
        for name in arguments.only:
            results[name] = verdict([run(CASES[name], arguments.pages, seed) for seed in range(arguments.seeds)])
            print(f"{name:26s} {results[name]}", flush=True)
    if arguments.write:
        settings = {"pages": arguments.pages, "seeds": arguments.seeds, "pairs": QUERIES * DOCUMENTS, "rows": ROWS}
        versions = {"python": platform.python_version(), "numpy": np.__version__}
        result = {"claim": "worst of the seeds", **settings, "limits": LIMITS, "versions": versions, "laws": results}
        path = Path(__file__).parent / "results" / "click_model_recovery.json"
        path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
