"""ClickSource: the log of simulate_clicks, block by block, drawn on the fly or written to disk."""

import pickle
import warnings

import numpy as np
import pytest

import ultr
from simulators import GradedRelevance, LinearPolicy, PlackettLuce, RandomPolicy, SwapPairs, simulate_clicks
from simulators import columns as columns_module
from simulators.click_source import ClickSource
from simulators.world import BLOCK_PAGES
from ultr.click_models import Cascade, DynamicBayesian, PositionBased
from ultr.data.source import LogSource, concat
from ultr.engine import Processes, Serial
from ultr.errors import ConfigError, FileError, LogError, UltrWarning

N_PAGES = 2 * BLOCK_PAGES + 100
EQUAL, RAGGED = (2, 2, 2), (3, 0, 1, 2)


def make_data(lengths=EQUAL, grades=None):
    n = sum(lengths)
    features = np.random.default_rng(0).normal(size=(n, 2))
    return ultr.RankingData(features, np.arange(n) % 4 if grades is None else grades, np.cumsum([0, *lengths]))


def assert_same(one, other):
    np.testing.assert_array_equal(one.offsets, other.offsets)
    for kind in ("columns", "page_columns"):
        left, right = getattr(one, kind), getattr(other, kind)
        assert {name: values.dtype for name, values in left.items()} == {name: values.dtype for name, values in right.items()}
        for name in left:
            np.testing.assert_array_equal(left[name], right[name])


WORLDS = [
    ({"policy": LinearPolicy()}, EQUAL),
    ({"policy": PlackettLuce(LinearPolicy(), 1.0), "seed": 3}, RAGGED),
    ({"policy": SwapPairs(LinearPolicy(), 0.5), "cutoff": 2, "click_model": PositionBased([0.9, 0.3])}, RAGGED),
    ({"policy": RandomPolicy(), "click_model": DynamicBayesian(0.8), "satisfaction": GradedRelevance(0.2, max_grade=5)}, RAGGED),
]


@pytest.mark.parametrize(("settings", "lengths"), WORLDS)
def test_chunks_are_the_log_of_simulate_clicks(settings, lengths):
    data = make_data(lengths)
    source = ClickSource(data, n_pages=N_PAGES, **settings)
    assert isinstance(source, LogSource)
    chunks = list(source.chunks())
    assert [len(chunk) for chunk in chunks] == [BLOCK_PAGES, BLOCK_PAGES, 100]
    assert len(source) == N_PAGES
    assert all(chunk.items is source.items for chunk in chunks)
    assert_same(concat(chunks), simulate_clicks(data, n_pages=N_PAGES, **settings))
    assert_same(concat(list(source.chunks())), concat(chunks))


def test_shards_are_disjoint_and_cover_the_log():
    source = ClickSource(make_data(), policy=RandomPolicy(), n_pages=N_PAGES)
    for n in (1, 2, 3, 5):
        shards = source.shards(n)
        assert len(shards) == n
        assert_same(concat([chunk for shard in shards for chunk in shard.chunks()]), concat(list(source.chunks())))
    again = pickle.loads(pickle.dumps(source.shards(2)[1].shards(2)[1]))
    assert_same(concat(list(again.chunks())), list(source.chunks())[2])
    with pytest.raises(LogError, match="a whole number of shards, 1 or more, not 0"):
        source.shards(0)


@pytest.mark.parametrize("engine", [None, Serial(), Processes(2)])
@pytest.mark.parametrize(("settings", "lengths"), WORLDS)
def test_written_it_is_the_log_that_simulate_clicks_writes(tmp_path, settings, lengths, engine):
    if engine == Processes(2) and lengths == EQUAL:
        pytest.skip("one world in processes is enough")
    data = make_data(lengths)
    assert ClickSource(data, n_pages=N_PAGES, **settings).write_parquet(tmp_path / "log", engine=engine, pages_per_shard=1) == 0
    simulate_clicks(data, n_pages=N_PAGES, **settings).write_parquet(tmp_path / "whole")
    log, whole = ultr.ParquetLog.open(tmp_path / "log"), ultr.ParquetLog.open(tmp_path / "whole")
    assert (log.columns, log.page_columns) == (whole.columns, whole.page_columns)
    assert [group.pages for group in log.groups] == [group.pages for group in whole.groups]
    assert_same(log.load(), whole.load())
    np.testing.assert_array_equal(log.items.features, whole.items.features)
    assert len(list((tmp_path / "log").glob("pages-*"))) == 3


def test_in_one_shard_the_files_are_the_same(tmp_path):
    settings = {"policy": RandomPolicy(), "n_pages": N_PAGES}
    ClickSource(make_data(), **settings).write_parquet(tmp_path / "log")
    simulate_clicks(make_data(), **settings).write_parquet(tmp_path / "whole")
    one, other = ({file.name: file.read_bytes() for file in (tmp_path / name).iterdir()} for name in ("log", "whole"))
    assert one == other


class Stops(Serial):
    """Runs the first task alone."""

    def map(self, function, tasks, names=None):
        yield next(super().map(function, tasks, names))
        raise KeyboardInterrupt


BASE = {"policy": LinearPolicy(), "n_pages": N_PAGES, "click_model": PositionBased([0.9, 0.3]), "cutoff": 2}


def test_what_was_begun_is_finished(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        ClickSource(make_data(), **BASE).write_parquet(tmp_path / "log", engine=Stops(), pages_per_shard=1)
    assert ClickSource(make_data(), **BASE).write_parquet(tmp_path / "log", pages_per_shard=1) == 1
    assert_same(ultr.ParquetLog.open(tmp_path / "log").load(), simulate_clicks(make_data(), **BASE))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"policy": RandomPolicy()}, "policy and clicks"),
        ({"click_model": PositionBased([0.9, 0.31])}, "policy and clicks"),
        ({"relevance": GradedRelevance(noise=0.2)}, "relevance"),
        ({"n_pages": N_PAGES + 1}, "pages (131172, now 131173)"),
        ({"seed": 1}, "seed (0, now 1)"),
        ({"cutoff": 1}, "cutoff (2, now 1)"),
        ({"data": make_data(grades=[0, 1, 2, 3, 0, 2])}, "data"),
        ({"pages_per_shard": N_PAGES}, "shards (3, now 1)"),
    ],
)
def test_what_was_begun_with_other_settings_is_refused(tmp_path, change, named):
    with pytest.raises(KeyboardInterrupt):
        ClickSource(make_data(), **BASE).write_parquet(tmp_path / "log", engine=Stops(), pages_per_shard=1)
    settings = {"data": make_data(), "pages_per_shard": 1, **BASE, **change}
    pages = settings.pop("pages_per_shard")
    with pytest.raises(FileError) as refused:
        ClickSource(**settings).write_parquet(tmp_path / "log", pages_per_shard=pages)
    assert "unfinished log that was begun with other settings" in str(refused.value)
    assert named in str(refused.value)
    assert ClickSource(**settings).write_parquet(tmp_path / "log", pages_per_shard=pages, overwrite=True) == 0


@pytest.mark.parametrize("policy", [LinearPolicy(), RandomPolicy()])
def test_rows_that_nobody_ever_examines(policy):
    """Below a row that is always clicked a cascade has ended: as in simulate_clicks there is no column propensity, and a warning."""
    settings = {"policy": policy, "n_pages": BLOCK_PAGES + 1, "click_model": Cascade()}
    with pytest.warns(UltrWarning, match="never examines"):
        source = ClickSource(make_data(), **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = concat(list(source.chunks()))
    with pytest.warns(UltrWarning, match="never examines"):
        whole = simulate_clicks(make_data(), **settings)
    assert "propensity" not in whole.columns
    assert_same(drawn, whole)


def test_a_row_that_nobody_examines_in_a_later_block_is_an_error(monkeypatch):
    data = make_data()
    source = ClickSource(data, policy=RandomPolicy(), n_pages=N_PAGES, click_model=Cascade(), relevance=GradedRelevance(max_grade=5))
    propensity, calls = columns_module.propensity, []

    def none_in_the_second(*arguments):
        calls.append(arguments)
        return propensity(*arguments) if len(calls) == 1 else None

    monkeypatch.setattr(columns_module, "propensity", none_in_the_second)
    with pytest.raises(LogError, match=r"Block 1 has a page with a row that is never examined.* no page of block 0 has one"):
        list(source.chunks())


def test_bad_settings():
    with pytest.raises(ConfigError, match="n_pages must be a whole number of at least 1, not 0"):
        ClickSource(make_data(), policy=RandomPolicy(), n_pages=0)
    with pytest.raises(ConfigError, match="pages_per_shard must be at least 1, not 0"):
        ClickSource(make_data(), policy=RandomPolicy(), n_pages=1).write_parquet("log", pages_per_shard=0)
