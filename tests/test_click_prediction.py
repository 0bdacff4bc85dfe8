"""Log-likelihood and perplexity of click models: by hand, rank by rank, on pages of any length."""

import click_stories as stories
import numpy as np
import pytest
from click_laws import STORIES

from ultr import ClickLog, click_models, metrics
from ultr.click_models import Cascade, DynamicBayesian, ItemRate, PositionBased
from ultr.errors import LogError

A = np.array([0.7, 0.4, 0.55, 0.2])


def log_of(clicks, relevance, **columns):
    """Pages of any lengths, with the truth about each row."""
    offsets = np.concatenate([[0], np.cumsum([len(page) for page in clicks])])
    item = np.concatenate([np.arange(len(page)) for page in clicks])
    row = {"item": item, "click": np.concatenate(clicks).astype(int), "relevance": np.concatenate(relevance).astype(float)}
    return ClickLog(offsets, {**row, **columns}, {"query": np.zeros(len(clicks), dtype=int)})


def test_a_coin_has_perplexity_two():
    log = log_of([[1, 0, 1], [0, 1], [0]], [[0.5] * 3, [0.5] * 2, [0.5]])
    table = metrics.perplexity(ItemRate(), log)
    np.testing.assert_allclose(table[["conditional", "marginal"]], 2)
    assert table["rows"].tolist() == [3, 2, 1, 6]
    assert table.index.tolist() == [1, 2, 3, "all"]
    np.testing.assert_allclose(metrics.log_likelihood(ItemRate(), log)[["conditional", "marginal"]], -np.log(2))


def test_who_is_right_and_sure_has_perplexity_one_and_who_is_wrong_infinity():
    log = log_of([[1, 0], [0, 1]], [[1, 0], [0, 1]])
    assert (metrics.perplexity(ItemRate(), log)["conditional"] == 1).all()
    wrong = log_of([[1, 0], [0, 1]], [[1, 0], [1, 1]])
    assert metrics.perplexity(ItemRate(), wrong).loc[1, "conditional"] == np.inf
    assert metrics.log_likelihood(ItemRate(), wrong).loc["all", "marginal"] == -np.inf


def test_by_hand():
    """Two pages, the second with one row: rank 2 is judged on the first page alone."""
    law = PositionBased([0.5, 0.25])
    log = log_of([[1, 0], [0]], [[0.8, 0.4], [0.6]])
    first, second = (np.log(0.4) + np.log(0.7)) / 2, np.log(0.9)
    likelihood, perplexity = metrics.log_likelihood(law, log), metrics.perplexity(law, log)
    for given in ("conditional", "marginal"):  # the same, since rows are independent
        np.testing.assert_allclose(likelihood[given], [first, second, (2 * first + second) / 3])
        np.testing.assert_allclose(perplexity[given], [np.exp(-first), np.exp(-second), (np.exp(-first) + np.exp(-second)) / 2])


def test_the_cascade_by_hand():
    """Given no click above, rows are clicked at their attraction; else at the product of what the rows above let through."""
    log = log_of([[0, 0, 1, 0]], [A])
    likelihood = metrics.log_likelihood(Cascade(), log)
    np.testing.assert_allclose(likelihood.loc[[1, 2, 3], "conditional"], np.log([0.3, 0.6, 0.55]))
    assert likelihood.loc[4, "conditional"] == 0
    reached = np.cumprod([1, 0.3, 0.6, 0.45]) * A
    np.testing.assert_allclose(likelihood.loc[[1, 2, 3, 4], "marginal"], np.log([1 - 0.7, 1 - reached[1], reached[2], 1 - reached[3]]))


@pytest.mark.parametrize("name", STORIES)
def test_the_conditional_log_likelihood_adds_up_to_that_of_the_pages(name):
    law, story = STORIES[name]
    patterns, chance, _ = stories.tables(story, A, A[::-1])
    possible = [clicks for clicks, p in zip(patterns, chance, strict=True) if p > 0]
    clicks = [page[:n] for page in possible for n in (4, 2)]
    satisfaction = np.concatenate([A[::-1][: len(page)] for page in clicks])
    log = log_of(clicks, [A[: len(page)] for page in clicks], satisfaction=satisfaction)
    table = metrics.log_likelihood(law, log)
    total = sum(law.log_likelihood(A[: len(page)], page, A[::-1][: len(page)]) for page in clicks)
    assert table.loc["all", "conditional"] * log.n_rows == pytest.approx(total)
    ranks = table.drop("all")
    np.testing.assert_allclose((ranks["conditional"] * ranks["rows"]).sum(), total)


def test_pages_that_stand_for_several_count_several_times():
    law = PositionBased([0.9, 0.5])
    whole = log_of([[1, 0], [0, 1], [1, 1]], [[0.6, 0.3]] * 3)
    small = whole.compress()
    assert small.compressed
    for metric in (metrics.log_likelihood, metrics.perplexity):
        np.testing.assert_allclose(metric(law, small), metric(law, whole))
    with pytest.raises(LogError, match="Cascade needs every page by itself"):
        metrics.perplexity(Cascade(), small)


def test_a_fitted_model_and_the_truth_are_judged_alike():
    rng = np.random.default_rng(0)
    clicks = (rng.random((3000, 3)) < [0.5, 0.3, 0.1]).astype(int)
    log = log_of(clicks, [[0.5, 0.3, 0.1]] * 3000)
    fitted = click_models.fit(ItemRate, log)
    np.testing.assert_allclose(metrics.perplexity(fitted, log), metrics.perplexity(ItemRate(), log), rtol=1e-3)


def test_a_position_that_is_never_shown_is_no_rank():
    log = log_of([[1, 0], [0, 0]], [[0.5, 0.5]] * 2, position=np.array([0, 2, 0, 2]))
    assert metrics.perplexity(PositionBased([1, 1, 1]), log).index.tolist() == [1, 3, "all"]


def test_bad_logs():
    log = log_of([[1, 0]], [[0.5, 0.5]])
    with pytest.raises(LogError, match="DynamicBayesian needs the column 'satisfaction'"):
        metrics.perplexity(DynamicBayesian(0.9), log)
    with pytest.raises(LogError, match="There is no row"):
        metrics.perplexity(ItemRate(), log.take(np.arange(0)))
    with pytest.raises(LogError, match="position must rise"):
        metrics.perplexity(Cascade(), log.with_columns(position=np.array([1, 0])))
    with pytest.raises(LogError, match="click must be 0 or 1"):
        metrics.perplexity(ItemRate(), log.with_columns(click=np.array([2, 0])))
