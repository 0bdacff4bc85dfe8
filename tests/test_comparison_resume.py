"""Comparison with a directory: every kind of interruption loses unfinished cells only, and no other comparison goes on from it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from comparison_fakes import TEST, Dies, Fake, click_log, compare, graded_set, quietly

import ultr
from ultr.data.writer import write_log
from ultr.engine import Processes, Serial
from ultr.errors import ConfigError, FileError
from ultr.evaluation.digest import digest
from ultr.metrics import NDCG


def same(a, b) -> None:
    assert a.table.equals(b.table)
    assert a.paired.equals(b.paired)
    assert a.curves.equals(b.curves)
    assert a.histories.equals(b.histories)
    assert np.array_equal(a.truth, b.truth)
    assert a.warnings == b.warnings


@pytest.mark.filterwarnings("ignore::ultr.errors.IdentifiabilityWarning")
def test_a_finished_run_is_read_back_without_fitting(tmp_path):
    estimators = {"naive": Fake(), "a/b <c>": Fake(noise=2.0, curve=True, warn="rare {seed}")}
    first = quietly(compare(estimators=estimators), directory=tmp_path)
    cells = {file: file.stat().st_mtime_ns for file in (tmp_path / "cells").iterdir()}
    second = quietly(compare(estimators=estimators), directory=tmp_path)
    same(second, first)
    assert second.fits.equals(first.fits)  # the seconds too: nothing ran
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "cells").iterdir()} == cells


def test_seeds_can_be_added(tmp_path):
    quietly(compare(seeds=[2]), directory=tmp_path)
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "cells").iterdir()}
    same(quietly(compare(), directory=tmp_path), quietly(compare()))
    assert all((tmp_path / "cells" / name).stat().st_mtime_ns == when for name, when in before.items())


@pytest.mark.parametrize("engine", [Serial(), Processes(2)], ids=repr)
def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, engine):
    estimators = {"naive": Fake(), "dies": Dies(marker=tmp_path / "marker", seed=2, how="interrupt")}
    with pytest.raises(KeyboardInterrupt):
        quietly(compare(estimators=estimators), directory=tmp_path / "run", engine=engine)
    left = len(list((tmp_path / "run").glob("cells/*.npz")))  # in processes the interrupt may come before the first cell is handed over
    assert left == 5 if engine == Serial() else left <= 7
    same(quietly(compare(estimators=estimators), directory=tmp_path / "run"), quietly(compare(estimators=estimators)))


SCRIPT = """
import sys
from pathlib import Path
from comparison_fakes import Dies, Fake, click_log, graded_set
import ultr
from ultr.metrics import NDCG

run, marker = map(Path, sys.argv[1:])
estimators = {"naive": Fake(), "dies": Dies(marker=marker, seed=2)}
comparison = ultr.Comparison(click_log, graded_set(), estimators=estimators, metrics={"ndcg@3": NDCG(3)}, seeds=range(4))
comparison.run(progress=False, directory=run)
"""


def test_a_killed_process_loses_unfinished_cells_only(tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "run"), str(tmp_path / "marker")]
    here = Path(__file__).parent
    assert subprocess.run(command, cwd=here, check=False).returncode == -9
    cells = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "run" / "cells").iterdir()}
    assert sorted(cells) == ["dies-seed-0.npz", "dies-seed-1.npz", "naive-seed-0.npz", "naive-seed-1.npz", "naive-seed-2.npz"]
    assert subprocess.run(command, cwd=here, check=False).returncode == 0
    now = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "run" / "cells").iterdir()}
    assert len(now) == 8
    assert all(now[name] == when for name, when in cells.items())


CHANGES = {
    "another setting": (
        {"estimators": {"naive": Fake(noise=3.5), "ips": Fake(noise=1.0, curve=True), "truth": Fake(noise=0.0)}},
        "'naive' was",
    ),
    "an estimator less": (
        {"estimators": {"naive": Fake(noise=3.0), "ips": Fake(noise=1.0, curve=True)}},
        "'truth' was .*, now it is not there",
    ),
    "another metric": ({"metrics": {"ndcg@3": NDCG(2)}}, "metrics 'ndcg@3' was NDCG"),
    "another test set": ({"test": graded_set(seed=1)}, "test 'test' was"),
    "another name of the test set": ({"test": {"new": TEST}}, "test 'new' was not there"),
    "a fixed log": ({"train": click_log(0)}, "train 'kind' was a log for each seed, now it is one log"),
    "other clicks": ({"train": lambda seed: click_log(seed + 1)}, "the training log of seed 0"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_comparison_in_the_same_directory_is_refused(tmp_path, change):
    changes, message = CHANGES[change]
    quietly(compare(seeds=[0, 1]), directory=tmp_path)
    with pytest.raises(ConfigError, match=message):
        quietly(compare(**changes), directory=tmp_path)


def test_logs_on_disk_that_differ_after_the_first_row_group_are_told_apart(tmp_path):
    log = click_log(0)
    for name, pages in (("one", np.arange(12)), ("two", np.r_[:11, 10])):
        write_log(log.take(pages), tmp_path / name, pages_per_group=4)
    write_log(log.take(np.arange(11)), tmp_path / "short", pages_per_group=4)
    one, two, short = (ultr.ParquetLog.open(tmp_path / name) for name in ("one", "two", "short"))
    first = quietly(compare(train=one, seeds=[0, 1]), directory=tmp_path / "run")
    same(quietly(compare(train=one, seeds=[0, 1]), directory=tmp_path / "run"), first)
    assert set(first.fits["rows"]) == {36}
    with pytest.raises(ConfigError, match="train 'pages' was 12, now it is 11"):
        quietly(compare(train=short, seeds=[0, 1]), directory=tmp_path / "run")
    assert digest(one) == digest(two)  # as large, and alike where it is looked at: the docstring says so


def test_functions_and_objects_without_repr_do_not_look_changed(tmp_path):
    class Plain:
        def fit(self, source, *, seed=0):
            return Fake().fit(source, seed=seed)

    first = quietly(compare(estimators={"plain": Plain()}, baseline=None, metrics={"f": lambda log: np.ones(len(log))}), directory=tmp_path)
    again = quietly(compare(estimators={"plain": Plain()}, baseline=None, metrics={"f": lambda log: np.ones(len(log))}), directory=tmp_path)
    same(first, again)


def test_damaged_and_newer_folders_are_refused_with_the_file(tmp_path):
    comparison = compare(seeds=[0])
    quietly(comparison, directory=tmp_path)
    (tmp_path / "cells" / "ips-seed-0.npz").write_bytes(b"PK\x03\x04 half")
    with pytest.raises(FileError, match=r"ips-seed-0\.npz is damaged .* delete it"):
        quietly(comparison, directory=tmp_path)
    file = tmp_path / "comparison.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": 99}))
    with pytest.raises(FileError, match="newer version"):
        quietly(comparison, directory=tmp_path)
    for text, message in (("{", "cannot be read"), ("[]", "does not describe a comparison"), ('{"format": 1}', "does not describe")):
        file.write_text(text)
        with pytest.raises(FileError, match=message):
            quietly(comparison, directory=tmp_path)


def test_cells_hold_no_pickle(tmp_path):
    quietly(compare(seeds=[0]), directory=tmp_path)
    for file in (tmp_path / "cells").iterdir():
        with np.load(file, allow_pickle=False) as arrays:
            assert all(arrays[name].dtype != object for name in arrays)


def test_an_unwritable_place_is_a_file_error(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(FileError, match="cannot be written"):
        quietly(compare(seeds=[0]), directory=tmp_path / "taken" / "run")
