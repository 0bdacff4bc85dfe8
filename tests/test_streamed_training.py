"""Training on a log that is read again for every epoch: what has to be exact is exact, and the ranker differs as from seed to seed."""

import dataclasses

import numpy as np
import pytest

import simulators
import ultr
from ultr import ParquetLog, Training
from ultr.data.source import Chunked, gather, mapped, resident
from ultr.data.writer import write_log
from ultr.errors import LogError
from ultr.estimators import DLA, IPS, Naive
from ultr.metrics import NDCG
from ultr.models.fitting import with_labels
from ultr.random import generator
from ultr.training import labelled
from ultr.training.labelled import labelled_pages
from ultr.training.split import held_out, validation_pages

DATA = ultr.synthetic_ranking(60, range(5, 9), 6, seed=0)
POLICY = simulators.SwapPairs(simulators.LinearPolicy(0.5), 0.5)
LOG = simulators.simulate_clicks(DATA, policy=POLICY, n_pages=6_000, cutoff=6, seed=0)
SHORT = Training(steps=40, check_every=20, batch_pages=64)
STREAMED = dataclasses.replace(SHORT, shuffle_rows=6_000)  # about a sixth of the log
ESTIMATORS = {
    "naive": Naive(),
    "ips": IPS(),
    "ips, clipped": IPS(clip=3, normalise="first"),
    "ips, of a function": IPS(propensity=lambda batch: 1 / (1.0 + batch.position)),
    "dla": DLA(),
}


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory) -> ParquetLog:
    path = tmp_path_factory.mktemp("logs") / "log"
    write_log(LOG, path, pages_per_group=300)
    return ParquetLog.open(path)


def trained(name: str, training: Training):
    return dataclasses.replace(ESTIMATORS[name], training=training)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_short_log_on_disk_gives_the_ranker_of_memory_bit_for_bit(name, on_disk):
    from_disk, from_memory = (trained(name, SHORT).fit(source, seed=3) for source in (on_disk, LOG))
    assert np.array_equal(from_disk.score_log(LOG), from_memory.score_log(LOG))
    assert from_disk.propensity is None or np.array_equal(from_disk.propensity, from_memory.propensity, equal_nan=True)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_streamed_fit_is_reproducible_and_as_good_as_one_in_memory(name, on_disk):
    long = dataclasses.replace(STREAMED, steps=400)
    streamed, again = (trained(name, long).fit(on_disk, seed=3) for _ in range(2))
    assert np.array_equal(streamed.score_log(LOG), again.score_log(LOG))
    in_memory = [trained(name, dataclasses.replace(SHORT, steps=400)).fit(LOG, seed=seed).score_log(LOG) for seed in (3, 4)]
    assert not np.array_equal(streamed.score_log(LOG), in_memory[0])  # it was streamed
    far = np.corrcoef(in_memory)[0, 1]  # two seeds in memory: other queries are held out
    assert np.corrcoef(streamed.score_log(LOG), in_memory[0])[0, 1] > 1 - 3 * (1 - far)
    if streamed.propensity is not None and "dla" not in name:
        np.testing.assert_allclose(streamed.propensity, trained(name, SHORT).fit(LOG, seed=3).propensity, rtol=1e-6)


def test_dla_finds_the_curve_from_disk_as_another_seed_does_in_memory(on_disk):
    curve = DLA(training=dataclasses.replace(STREAMED, steps=600)).fit(on_disk, seed=0).propensity
    in_memory = [DLA(training=dataclasses.replace(SHORT, steps=600)).fit(LOG, seed=seed).propensity for seed in range(4)]
    assert np.abs(curve - in_memory[0]).max() < 2 * np.ptp(in_memory, axis=0).max()


def test_a_streamed_ranker_is_judged_alike_piece_by_piece(on_disk):
    ranker = Naive(training=SHORT).fit(LOG)
    metrics = {"ndcg": NDCG(5)}
    assert ultr.evaluate(ranker, on_disk, metrics).equals(ultr.evaluate(ranker, LOG, metrics))


# What all pages say before the first step


def labelled_log(log: ultr.ClickLog) -> ultr.ClickLog:
    return with_labels(log, log.columns["click"] * 1.5, log.columns["click"].astype(float))


@pytest.mark.parametrize("keep_empty_pages", [False, True])
def test_the_survey_of_a_streamed_log_is_that_of_the_log(keep_empty_pages, on_disk):
    settings = {"by": "test", "seed": 5, "keep_empty_pages": keep_empty_pages}
    whole = labelled_pages(labelled_log(LOG), STREAMED, **settings)
    streamed = labelled_pages(mapped(on_disk, labelled_log), STREAMED, **settings)
    assert resident(on_disk, STREAMED.shuffle_rows) is None
    assert streamed.n_pages == whole.n_pages
    assert streamed.mass == pytest.approx(whole.mass, rel=1e-12)
    assert np.array_equal(streamed.shown, whole.shown)
    assert np.array_equal(streamed.watched.columns["item"], whole.watched.columns["item"])
    assert np.array_equal(streamed.watched_mass, whole.watched_mass)


def test_an_epoch_has_every_training_page_once_with_its_weight(on_disk):
    def numbered(log):
        return log.with_columns(row=log.columns["item"] * 8 + log.slots())

    def epoch(source):
        pages = labelled_pages(mapped(source, labelled_log), STREAMED, by="test", seed=5, keep_empty_pages=False)
        found = []
        for batch, weights in pages.batches(STREAMED, 5):
            assert len(batch) <= STREAMED.batch_pages
            items = np.where(batch.mask.numpy(), batch.item.numpy(), -1)
            found += [(*row, round(float(weight), 6)) for row, weight in zip(items.tolist(), weights, strict=True)]
        return found

    streamed, whole = epoch(on_disk), epoch(LOG)
    pad = max(len(row) for row in (*streamed, *whole))
    streamed, whole = ([(*row[:-1], *[-1] * (pad - len(row)), row[-1]) for row in rows] for rows in (streamed, whole))
    assert sorted(streamed) == sorted(whole)
    assert streamed != whole


def test_watched_pages_of_a_streamed_log_are_a_fixed_number_drawn_at_random(on_disk, monkeypatch):
    settings = {"by": "test", "seed": 5, "keep_empty_pages": True}
    everything = labelled_pages(mapped(on_disk, labelled_log), STREAMED, **settings).watched
    monkeypatch.setattr(labelled, "WATCHED", 200)
    some, again = (labelled_pages(mapped(on_disk, labelled_log), STREAMED, **settings).watched for _ in range(2))
    other = labelled_pages(mapped(on_disk, labelled_log), STREAMED, **{**settings, "seed": 6}).watched
    assert len(everything) > 1000
    assert len(some) == 200
    assert np.array_equal(some.columns["item"], again.columns["item"])
    assert not np.array_equal(some.page_columns["query"], other.page_columns["query"])
    assert set(some.page_columns["query"]) == set(everything.page_columns["query"])  # from all of them


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5])
def test_the_same_queries_are_held_out_however_the_log_is_cut(share, on_disk):
    expected = validation_pages(LOG, share, 4)
    for source in (on_disk, Chunked(LOG, 13), on_disk.project(["query"])):
        split = held_out(source, share, 4)
        assert np.array_equal(np.concatenate([split(chunk) for chunk in source.chunks()]), expected)
    assert expected.any() == (share > 0)


def test_pages_without_query_and_id_are_held_out_by_what_they_show():
    bare = ultr.ClickLog(LOG.offsets, LOG.columns, {}, LOG.items)
    small, large = Chunked(bare, 100), Chunked(bare, 700)
    found = [np.concatenate([held_out(source, 0.3, 1)(chunk) for chunk in source.chunks()]) for source in (small, large)]
    assert np.array_equal(*found)
    shown = [tuple(bare.columns["item"][start:end]) for start, end in zip(bare.offsets[:-1], bare.offsets[1:], strict=True)]
    assert not {page for page, held in zip(shown, found[0], strict=True) if held} & {
        page for page, held in zip(shown, found[0], strict=True) if not held
    }
    assert 0.2 < found[0].mean() < 0.4


def test_a_streamed_log_without_a_label_is_refused(on_disk):
    nothing = mapped(on_disk, lambda log: log.with_columns(click=np.zeros(log.n_rows, np.int8)))
    with pytest.raises(LogError, match="no training page has a positive label"):
        Naive(training=STREAMED).fit(nothing)
    for estimator in (Naive(training=STREAMED, label="clik"), IPS(training=STREAMED, label="clik"), DLA(training=STREAMED, label="clik")):
        with pytest.raises(LogError, match=r"lacks.*Did you mean 'click'|needs the column 'clik'.*click"):
            estimator.fit(on_disk)


def test_shuffle_rows_must_be_a_number_of_rows():
    with pytest.raises(ValueError, match="shuffle_rows"):
        Training(shuffle_rows=0)


def test_resident_loads_what_is_short_enough(on_disk):
    assert resident(LOG, 1) is LOG
    assert resident(on_disk, LOG.n_rows - 1) is None
    assert resident(Chunked(LOG, 100), LOG.n_rows - 1) is None
    assert np.array_equal(resident(on_disk, LOG.n_rows).columns["item"], gather(on_disk).columns["item"])


def test_a_source_without_an_order_of_its_own_is_shuffled_in_a_buffer():
    from ultr.data.source import shuffled

    pages = [log.page_columns["query"] for log in shuffled(Chunked(LOG, 100), generator(1), 6_000)]
    assert len(pages) > 3
    assert sorted(np.concatenate(pages)) == sorted(LOG.page_columns["query"])
    assert not np.array_equal(np.concatenate(pages), LOG.page_columns["query"])
