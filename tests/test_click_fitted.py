"""Click models are fitted to logs of every kind, and fitted ones rank, predict, compare and are kept."""

import warnings

import numpy as np
import pandas as pd
import pytest
from click_logs import RECOVERED, every_law, fit, pages_log, simulated

import simulators
import ultr
from ultr import ClickLog, Items, ParquetLog, RankingData, click_models
from ultr.click_models import (
    Cascade,
    ClickChain,
    ClickModel,
    DependentClick,
    DynamicBayesian,
    GlobalRate,
    ItemRankRate,
    ItemRate,
    Mixture,
    PositionBased,
    RankRate,
    TrustBias,
    UserBrowsing,
)
from ultr.data.source import Chunked
from ultr.errors import ConfigError, ContractError, FileError, IdentifiabilityWarning, LogError, UltrWarning
from ultr.estimators import ClickModelRanker
from ultr.metrics import NDCG
from ultr.random import generator

# --- logs of every kind


def test_compressed_logs_are_taken_where_rows_are_independent():
    data = RankingData(np.zeros((6, 1)), [0, 1, 2, 0, 3, 4], [0, 3, 6])
    policy = simulators.SwapPairs(simulators.LinearPolicy(), 0.5)
    log = simulators.simulate_clicks(data, policy=policy, n_pages=3000, click_model=PositionBased([0.9, 0.6, 0.3]))
    small = log.compress()
    assert small.compressed
    for law in (PositionBased, TrustBias, GlobalRate, RankRate, ItemRate, ItemRankRate):
        whole, merged = fit(law, log, max_iter=20), fit(law, small, max_iter=20)
        np.testing.assert_allclose(merged.attraction(log), whole.attraction(log), rtol=1e-9)
        np.testing.assert_allclose(merged.log_likelihoods, whole.log_likelihoods)
        assert merged.n_rows == whole.n_rows == log.n_rows
        assert merged.log_likelihood(small).sum() == pytest.approx(merged.log_likelihood(log).sum())
    for law in (UserBrowsing, Cascade, DynamicBayesian, ClickChain, Mixture([ItemRate()], [1.0])):
        with pytest.raises(LogError, match=r"needs every page by itself.*before compress\(\)"):
            fit(law, small)
    fitted = fit(UserBrowsing, log)
    for call in (fitted.log_likelihood, fitted.click_probability):
        with pytest.raises(LogError, match="UserBrowsing needs every page by itself"):
            call(small)
    assert fitted.click_probability(small, given_clicks=False).shape == (small.n_rows,)


def test_positions_are_those_logged():
    """A second result page, positions 2 and 3: examination is known there, and taken for the position above elsewhere."""
    clicks = [[1, 0], [0, 1], [1, 1]] * 20
    log = pages_log(clicks, [[0, 1], [1, 0], [0, 1]] * 20, position=[2, 3] * 60)
    fitted = fit(PositionBased, log)
    assert len(fitted.model.examination) == 4
    assert np.isnan(fitted.propensity[:2]).all()
    assert fitted.propensity[2] == 1
    assert fit(RankRate, log).table.index.tolist() == [(k,) for k in range(4)] or len(fit(RankRate, log).table) == 4
    for law in (UserBrowsing, DynamicBayesian, DependentClick):
        found = fit(law, log, max_iter=5, tol=0)
        assert found.log_likelihood(log).sum() == pytest.approx(found.log_likelihoods[-1])


def test_items_are_known_by_their_ids_in_other_logs():
    def frame(items, pages):
        return ClickLog.from_frame(
            pd.DataFrame(
                {"page": np.repeat(np.arange(pages), len(items)), "item": items * pages, "click": [1, 0, 0] * pages, "query": "shoes"}
            )
        )

    train, test = frame(["red", "blue", "green"], 5), frame(["blue", "red", "black"], 1)
    for query in ("query", None):
        fitted = fit(ItemRate, train, query=query)
        np.testing.assert_allclose(fitted.attraction(test), [1 / 7, 6 / 7, 1 / 2])
    assert fitted.table.loc[(None, "red"), "attraction"] == pytest.approx(6 / 7)


def test_an_item_may_belong_to_many_queries():
    """Pairs, not items: 3 items under 50 queries, in pieces."""
    rng = generator(4)
    query = rng.integers(0, 50, 400)
    log = pages_log([[(q + i) % 2 for i in range(3)] for q in query], [rng.permutation(3)] * 400, query=query)
    fitted = fit(ItemRate, Chunked(log, 13))
    assert len(fitted.table) == len({(q, i) for q in query for i in range(3)})
    rows = pd.DataFrame({"query": np.repeat(query, 3), "item": log.columns["item"], "click": log.columns["click"]})
    by_hand = rows.groupby(["query", "item"])["click"].agg(lambda c: (c.sum() + 1) / (len(c) + 2))
    found = fitted.table["attraction"].sort_index()
    np.testing.assert_allclose(found, by_hand)
    assert fitted.table.index.is_unique


# --- what a fitted model is for


def test_it_ranks_by_attraction_and_knows_examination():
    log = simulated(RECOVERED[5], 3000)
    fitted = fit(DynamicBayesian, log)
    ranked = fitted.apply(log)
    np.testing.assert_array_equal(ranked.columns["item"], fitted.rank(log).columns["item"])
    score = ranked.columns["score"].reshape(-1, 4)
    assert (np.diff(score, axis=1) <= 0).all()
    a, s = fitted.attraction(log).reshape(-1, 4), fitted.satisfaction(log).reshape(-1, 4)
    c = log.columns["click"].reshape(-1, 4)
    np.testing.assert_allclose(fitted.click_probability(log).reshape(-1, 4), fitted.model.conditional(a, c, s))
    np.testing.assert_allclose(fitted.click_probability(log, given_clicks=False).reshape(-1, 4), fitted.model.marginal(a, s))
    np.testing.assert_allclose(fitted.examination(log).reshape(-1, 4), fitted.model.examination_given(a, c, s))
    np.testing.assert_allclose(fitted.examination(log, given_clicks=False).reshape(-1, 4), fitted.model.marginal_examination(a, s))
    assert fitted.propensity is None
    assert fit(Cascade, log).satisfaction(log) is None
    with pytest.raises(LogError, match="position must rise within a page"):
        fitted.log_likelihood(ranked)


def test_convergence_is_reported(capsys):
    log = simulated(RECOVERED[0], 2000)
    with pytest.warns(
        UltrWarning, match=r"fit\(PositionBased, ...\) ended after max_iter=3 steps; the last one still gained .* nats a row"
    ):
        short = click_models.fit(PositionBased, log, max_iter=3)
    assert not short.converged
    assert short.n_iterations == 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        long = click_models.fit(PositionBased, log, max_iter=2000, tol=1e-6)
    assert long.converged
    assert "converged" in repr(long)
    assert (long.objectives[-1] - long.objectives[-2]) / log.n_rows < 1e-6 <= (long.objectives[-2] - long.objectives[-3]) / log.n_rows
    assert capsys.readouterr() == ("", "")
    fit(PositionBased, log, max_iter=3, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "EM" in err


# --- bad input


def test_bad_settings():
    log = simulated(Cascade(), 10)
    for settings_, message in (
        ({"max_iter": -1}, "max_iter must be a whole number of at least 0"),
        ({"max_iter": 2.0}, "max_iter must be"),
        ({"tol": -1}, "tol must be at least 0"),
        ({"tol": np.nan}, "tol must be at least 0"),
        ({"prior": (0, 1)}, "prior must be two numbers above 0"),
        ({"prior": (1, 1, 1)}, "prior must be two numbers"),
    ):
        with pytest.raises(ConfigError, match=message):
            fit(PositionBased, log, **settings_)
    with pytest.raises(ConfigError, match="law must be a click model"):
        fit("PositionBased", log)


def test_a_law_of_ones_own_cannot_be_fitted():
    class Own(ClickModel):
        def conditional(self, attraction, clicks, satisfaction=None, mask=None):
            return np.asarray(attraction)

    with pytest.raises(ContractError, match="Own cannot be fitted: ultr learns its own click models only"):
        fit(Own(), simulated(Cascade(), 10))


@every_law
def test_bad_logs(law):
    log = simulated(Cascade(), 50)
    without = {name: values for name, values in log.columns.items() if name != "click"}
    bad = {
        "needs the column 'click'": ClickLog(log.offsets, without, log.page_columns, log.items),
        "has 200 rows and no click": log.with_columns(click=np.zeros(200, dtype=int)),
        "has 0 rows and no click": log.take(np.arange(0)),
        "click must be 0 or 1": log.with_columns(click=np.full(200, 2)),
        "position must rise within a page: page 0, row 1 has 0": log.with_columns(position=np.zeros(200, dtype=int)),
        r"needs the page column 'query'.*query=None": ClickLog(log.offsets, log.columns, {}, log.items),
    }
    for message, broken in bad.items():
        if "page column" in message and "query" not in getattr(law, "rates_by", ("query",)):
            continue
        with pytest.raises(LogError, match=message):
            fit(law, broken)


def test_clicks_that_every_kind_of_a_mixture_rules_out():
    with pytest.raises(LogError, match="All models of the mixture rule out the clicks of 1 pages"):
        fit(Mixture([Cascade()], [1.0]), pages_log([[1, 1], [1, 0]]))


@pytest.mark.parametrize("items", [None, Items(ids=np.array(list("abcdef")))])
def test_fitted_pairs_do_not_grow_when_other_logs_are_looked_up(items):
    train = pages_log([[1, 0], [0, 1]])
    train = ClickLog(train.offsets, train.columns, train.page_columns, items)
    fitted = fit(ItemRate, train)
    before = fitted.table.copy()
    other = pages_log([[0] * 5], [[0, 1, 2, 3, 4]], query=[0])
    fitted.attraction(
        ClickLog(other.offsets, other.columns, other.page_columns, None if items is None else Items(ids=np.array(list("xaybz"))))
    )
    pd.testing.assert_frame_equal(fitted.table, before)
    np.testing.assert_allclose(fitted.attraction(train), [1 / 2, 1 / 2, 1 / 2, 1 / 2])


# --- kept and compared


@every_law
def test_a_saved_model_says_the_same(law, tmp_path):
    log = simulated(Cascade(), 300)
    fitted = fit(law, log, max_iter=3)
    fitted.save(tmp_path / "model")
    loaded = ultr.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.click_probability(log), fitted.click_probability(log))
    pd.testing.assert_frame_equal(loaded.table.sort_index(), fitted.table.sort_index(), check_dtype=False)
    assert repr(loaded) == repr(fitted)
    for name in ("log_likelihoods", "objectives", "n_rows", "prior"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(fitted, name))
    assert (loaded.propensity is None) == (fitted.propensity is None)


def test_ids_come_back_as_they_were(tmp_path):
    frame = pd.DataFrame({"page": [0, 0, 1], "item": ["red", "blue", "red"], "click": [1, 0, 1], "query": ["shoes", "shoes", "hats"]})
    log = ClickLog.from_frame(frame)
    fitted = fit(ItemRate, log)
    fitted.save(tmp_path / "model")
    pd.testing.assert_frame_equal(ultr.load(tmp_path / "model").table.sort_index(), fitted.table.sort_index())
    dated = ClickLog(log.offsets, log.columns, {"query": np.array(["2024-01-01", "2024-01-02"], dtype="M8[D]").astype(object)}, log.items)
    with pytest.raises(ConfigError, match="queries have ids of type date"):
        fit(ItemRate, dated).save(tmp_path / "dated")


def test_damaged_files_are_refused(tmp_path):
    fitted = fit(ItemRate, simulated(Cascade(), 30))
    folder = tmp_path / "model"
    fitted.save(folder)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    for spoil, message in (
        (lambda: weights.write_bytes(whole[:-1] + b"!"), "is not what was saved"),
        (weights.unlink, "holds half a model"),
        (lambda: (folder / "model.json").write_text((folder / "model.json").read_text().replace("ItemRate", "fit")), "holds half|damaged"),
    ):
        spoil()
        with pytest.raises(FileError, match=message):
            ultr.load(folder)


def test_a_click_model_compares_as_a_ranker():
    """Random orders, 1,000 pages a query: it ranks almost as the grades do; one rate for all ranks at random, by hashes."""
    data = ultr.synthetic_ranking(20, 6, 3, seed=1)
    log = simulators.simulate_clicks(data, policy=simulators.RandomPolicy(), n_pages=20_000, cutoff=6)
    estimators = {"clicks": ClickModelRanker(law=GlobalRate), "pbm": ClickModelRanker(), "dbn": ClickModelRanker(law=DynamicBayesian)}
    comparison = ultr.Comparison(log, data, estimators=estimators, metrics={"ndcg": NDCG(6)}, seeds=[0], baseline="clicks")
    table = comparison.run(progress=False).table
    mean = table.set_index("estimator")["mean"]
    assert mean["pbm"] > 0.95
    assert mean["pbm"] > mean["clicks"] + 0.05


def test_a_click_model_warns_where_swaps_do_not_identify_it():
    data = ultr.synthetic_ranking(20, 6, 3, seed=1)
    log = simulators.simulate_clicks(data, policy=simulators.LinearPolicy(), n_pages=500, cutoff=6)
    with pytest.warns(IdentifiabilityWarning):
        ClickModelRanker(max_iter=2000).fit(log)
    with warnings.catch_warnings():
        warnings.simplefilter("error", IdentifiabilityWarning)
        ClickModelRanker(law=DynamicBayesian).fit(log)


def test_a_log_on_disk_gives_the_same(tmp_path):
    log = simulated(DynamicBayesian(0.8), 300)
    log.write_parquet(tmp_path / "log")
    stored = ParquetLog.open(tmp_path / "log")
    for law in (DynamicBayesian, ItemRankRate):
        np.testing.assert_allclose(fit(law, stored, max_iter=5).attraction(log), fit(law, log, max_iter=5).attraction(log), rtol=1e-9)
    without = ClickLog(log.offsets, {name: log.columns[name] for name in ("item", "position")}, log.page_columns, log.items)
    without.write_parquet(tmp_path / "without")
    with pytest.raises(LogError, match="needs the column 'click'"):
        fit(ItemRate, ParquetLog.open(tmp_path / "without"))
