"""The command line, end to end on tiny data: what each command writes and says, and that it never shows a traceback for bad input."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import warnings
from functools import partial
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import simulators
import ultr
from ultr.cli import main
from ultr.commands.simulate import Simulated, simulated
from ultr.config import read_config
from ultr.errors import UltrWarning

TABLE = """
[data]
type = "ultr:read_table"
path = "clicks.csv"
columns = {page = "request", item = "doc", click = "clicked"}
features = ["bm25", "price"]
first_position = 1
"""
DLA = """
[estimators.dla]
type = "ultr.estimators:DLA"
training = {type = "ultr:Training", steps = 30, check_every = 10}
"""
IPS = """
[estimator]
type = "ultr.estimators:IPS"
propensity = PROPENSITY
training = {type = "ultr:Training", steps = 30, check_every = 10}
"""
SYNTHETIC = """
[data]
type = "ultr:synthetic_ranking"
n_queries = 40
n_items = {from = 4, to = 6}
n_features = 3
"""
SIMULATE = """
[simulate]
n_pages = 500
policy = {type = "simulators:PlackettLuce", temperature = 1.0, policy = {type = "simulators:LinearPolicy"}}
"""
NAIVE = """
[estimators.naive]
type = "ultr.estimators:Naive"
training = {type = "ultr:Training", steps = 20, check_every = 10}
"""
RUN = """
[run]
seeds = 2
workers = 1
test = 0.5
"""
MINE = """
import os, signal, torch
from dataclasses import dataclass
from pathlib import Path
from ultr.estimators import Naive

def three_on_screen(batch):
    return torch.where(batch.position < 3, 1.0, 0.3)

def on_screen(batch, fold=3, light=0.3):
    return torch.where(batch.position < fold, 1.0, light)

@dataclass(frozen=True, kw_only=True)
class Dies:
    seed: int

    def fit(self, source, *, seed=0):
        marker = Path("died")
        if seed == self.seed and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Naive().fit(source, seed=seed)

@dataclass(frozen=True)
class NoScores:
    def fit(self, source, *, seed=0):
        return self

    def apply(self, log):
        return log.rerank([float("nan")] * log.n_rows)

@dataclass(frozen=True)
class Raises:
    what: str = "bug"

    def fit(self, source, *, seed=0):
        raise {"bug": RuntimeError("a bug"), "stop": KeyboardInterrupt()}[self.what]
"""


def impressions(n_pages: int = 120) -> pd.DataFrame:
    """Pages of four of six documents in changing order, with clicks that fall with the rank; ranks count from 1."""
    rng, rows = np.random.default_rng(0), []
    for page in range(n_pages):
        query = int(rng.integers(10))
        for rank, doc in enumerate(rng.permutation(6)[:4], start=1):
            bm25, price = np.random.default_rng([query, doc]).random(2)
            rows.append((f"r{page}", f"q{query}", f"d{doc}", rank, int(rng.random() < price / rank), bm25, price))
    return pd.DataFrame(rows, columns=["request", "query", "doc", "position", "clicked", "bm25", "price"])


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of its own, with a table and a module of the user, and a search path that is put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine_for_cli", raising=False)
    (tmp_path / "mine_for_cli.py").write_text(MINE)
    impressions().to_csv("clicks.csv", index=False)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run a command in this process: exit status, standard output, standard error."""

    def run_command(*argv: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main([str(argument) for argument in argv])
        return status, *capsys.readouterr()

    return run_command


def config(*sections: str, name: str = "c.toml") -> str:
    Path(name).write_text("\n".join(sections))
    return name


def done(result: tuple[int, str, str]) -> str:
    """Return the standard output of a command that succeeded."""
    assert result[0] == 0, result[2]
    return result[1]


def refused(result: tuple[int, str, str]) -> str:
    """Return the one line of a command that refused its input."""
    status, out, err = result
    message = err.rpartition("\nultr: ")[2] if "\nultr: " in err else err.removeprefix("ultr: ")  # below a progress bar, if there was one
    assert (status, out, "Traceback" in err) == (2, "", False)
    assert err.count("ultr: ") == 1
    assert message.count("\n") == 1
    return message.rstrip("\n")


def in_a_process(*argv: str, **options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "ultr", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, **options)


# From a table to scores


def test_import_describe_fit_score(run):
    c = config(TABLE, DLA)
    assert "pages         120" in done(run("import", c, "--out", "log"))
    assert len(ultr.ParquetLog.open("log")) == 120
    described = done(run("describe", "log"))
    assert described.splitlines()[1:] == done(run("describe", c)).splitlines()[1:]  # but for the name
    out = done(run("fit", c, "--out", "fitted"))
    assert "Kept the weights of step" in out
    assert "validation loss" in out
    assert "Swaps identify the propensities" in out
    curve = pd.read_csv("fitted/propensity.csv")
    assert list(curve.columns) == ["position", "propensity"]
    assert list(curve["position"]) == [0, 1, 2, 3]
    assert curve["propensity"][0] == 1
    assert list(pd.read_csv("fitted/history.csv").columns) == ["step", "split", "loss"]
    done(run("score", "fitted/model", "log", "--out", "scores.csv"))
    done(run("score", "fitted", c, "--out", "scores.parquet"))  # the folder of the fit, and the table by its config
    scores = pd.read_csv("scores.csv")
    pd.testing.assert_frame_equal(scores, pd.read_parquet("scores.parquet"), check_dtype=False)
    ranked = ultr.load("fitted/model").rank(ultr.ParquetLog.open("log").load())
    frame = ranked.to_frame()
    assert list(scores.columns) == ["page", "query", "item", "score", "rank"]
    assert list(scores["page"]) == list(frame["page"])
    assert list(scores["item"]) == list(frame["item"])
    np.testing.assert_allclose(scores["score"], frame["score"])
    assert list(scores["rank"]) == [1, 2, 3, 4] * 120


def test_fit_on_a_log_folder_equals_fit_on_its_table(run):
    done(run("import", config(TABLE), "--out", "log"))
    folder = '[data]\ntype = "ultr:ParquetLog.open"\npath = "log"\n'
    done(run("fit", config(TABLE, DLA), "--out", "a"))
    done(run("fit", config(folder, DLA), "--out", "b"))
    assert Path("a/propensity.csv").read_text() == Path("b/propensity.csv").read_text()
    assert Path("a/history.csv").read_text() == Path("b/history.csv").read_text()


def test_describe_by_hand(run):
    pd.DataFrame(
        {
            "page": [1, 1, 2, 2, 3, 3, 4],
            "query": ["a", "a", "a", "a", "b", "b", "b"],
            "item": ["x", "y", "y", "x", "x", "z", "x"],
            "position": [0, 1, 0, 1, 0, 1, 0],
            "click": [1, 0, 1, 1, 0, 0, 1],
        }
    ).to_csv("small.csv", index=False)
    out = done(run("describe", config('[data]\ntype = "ultr:read_table"\npath = "small.csv"\n')))
    said = dict(re.split(r"\s{2,}", line, maxsplit=1) for line in out.splitlines() if re.search(r"\S\s{2,}\S", line))
    assert said["pages"] == "4"
    assert said["rows"] == "7"
    assert said["queries"] == "2, 2.0 pages each"
    assert said["orders"] == "2 a query (median), 2 to 2"  # a: xy, yx; b: xz, x
    assert said["items"] == "3 shown of 3, without features"
    assert said["page length"] == "1 to 2 rows, mean 1.8"
    assert said["clicks"] == "4, 57.14% of the rows shown; 25.00% of the pages have none"
    assert re.split(r"\s+", said["clicks/shown"]) == ["0.750", "0.333"]
    assert "all 2 positions" in out
    assert "item features       needed by every ranker" in out
    assert "propensity" in said


def test_import_replaces_a_log_only_when_told_to(run, place):
    c = config(TABLE, '[run]\nout = "log"\n')
    done(run("import", c))
    assert "add --overwrite" in refused(run("import", c))
    done(run("import", c, "--overwrite"))
    (place / "other").mkdir()
    (place / "other" / "keep.txt").touch()
    assert "is no log, so it is never replaced" in refused(run("import", c, "--out", "other", "--overwrite"))


# Simulation and comparison


def test_simulate_writes_what_the_simulator_draws(run):
    import simulators

    c = config(SYNTHETIC, SIMULATE, "seed = 3")
    assert "pages         500" in done(run("simulate", c, "--out", "log"))
    policy = simulators.PlackettLuce(simulators.LinearPolicy(), 1.0)
    log = simulators.simulate_clicks(ultr.synthetic_ranking(40, range(4, 7), 3), policy=policy, n_pages=500, seed=3)
    np.testing.assert_array_equal(ultr.ParquetLog.open("log").load().columns["click"], log.columns["click"])


def test_compare_writes_report_and_tables_and_prints_them(run):
    c = config(SYNTHETIC, SIMULATE, NAIVE, DLA, '[metrics."nDCG@3"]\ntype = "ultr.metrics:NDCG"\nk = 3', RUN, 'baseline = "naive"')
    out = done(run("compare", c, "--out", "out"))
    assert "nDCG@3" in out
    assert "95% over seeds" in out
    assert re.search(r"^truth +1\.000 +0\.897", out, flags=re.M)
    assert "Every seed drew its own training log" in out
    assert "<html" in Path("out/report.html").read_text()
    paired = pd.read_parquet("out/paired.parquet")
    assert list(paired["estimator"]) == ["dla"]
    for table in ("table", "curves", "histories", "values"):
        assert len(pd.read_parquet(f"out/{table}.parquet"))
    assert len(list(Path("out/cells").iterdir())) == 4


def test_workers_change_nothing(run):
    c = config(SYNTHETIC, SIMULATE, NAIVE, RUN)
    done(run("compare", c, "--out", "a"))
    done(run("compare", c, "--out", "b", "--workers", "2"))
    pd.testing.assert_frame_equal(pd.read_parquet("a/values.parquet"), pd.read_parquet("b/values.parquet"))


def test_propensities_of_the_user_reach_worker_processes(run):
    ips = IPS.replace("[estimator]", "[estimators.ips]").replace("PROPENSITY", '"mine_for_cli:three_on_screen"')
    bound = IPS.replace("[estimator]", "[estimators.bound]").replace("PROPENSITY", '{type = "mine_for_cli:on_screen", fold = 3}')
    done(run("compare", config(SYNTHETIC, SIMULATE, ips, bound, RUN), "--out", "out", "--workers", "2"))
    values = pd.read_parquet("out/values.parquet").pivot_table(index=["seed", "id"], columns="estimator", values="value")
    assert values["ips"].equals(values["bound"])


def test_seeds_on_the_command_line_take_the_place_of_those_in_the_file(run):
    done(run("compare", config(SYNTHETIC, SIMULATE, NAIVE, RUN), "--out", "out", "--seeds", "3"))
    assert len(list(Path("out/cells").iterdir())) == 3


def test_fixed_clicks_are_drawn_once_and_varying_ones_anew(run):
    c = config(SYNTHETIC, SIMULATE, "seed = 5\n", NAIVE, RUN, 'clicks = "fixed"')
    assert "All seeds were fitted on the same training log" in done(run("compare", c, "--out", "a"))


def test_a_seed_of_the_clicks_is_where_the_seeds_of_a_comparison_start(run):
    for out, seed in (("a", ""), ("b", "seed = 0\n"), ("c", "seed = 5\n")):
        done(run("compare", config(SYNTHETIC, SIMULATE, seed, NAIVE, RUN), "--out", out))
    a, b, c = (pd.read_parquet(f"{out}/values.parquet")["value"] for out in "abc")
    assert a.equals(b)
    assert not a.equals(c)
    data = ultr.synthetic_ranking(20, 4, 3, seed=0)
    draw = partial(simulators.simulate_clicks, policy=simulators.RandomPolicy(), n_pages=50)
    np.testing.assert_array_equal(Simulated(data, draw, first=5)(1).columns["click"], draw(data, seed=6).columns["click"])


def test_the_logged_queries_are_judged_beside_the_test_queries(run):
    done(run("compare", config(SYNTHETIC, SIMULATE, NAIVE, RUN, "judge_logged = true"), "--out", "out"))
    table = pd.read_parquet("out/table.parquet")
    assert list(table["test"]) == ["test", "logged"]
    assert list(table["n"]) == [20, 20]


def test_a_real_log_is_compared_on_a_graded_test_set(run):
    lines = (f"{i % 3} qid:{i // 6} 1:{i * 7 % 10}.5 2:0.{i * 3 % 10}" for i in range(60))
    Path("test.txt").write_text("\n".join(lines) + "\n")
    test = '[test]\ntype = "ultr:load_svmrank"\npath = "test.txt"\n'
    out = done(run("compare", config(TABLE, test, NAIVE, DLA, "[run]\nseeds = 2\nworkers = 1"), "--out", "out"))
    assert "All seeds were fitted on the same training log" in out
    clicks = '[metrics.clicked]\ntype = "ultr.metrics:NDCG"\nlabel = "click"\n'
    assert "[metrics.clicked] judges by clicks. Clicks belong to the order" in refused(run("compare", config(TABLE, test, NAIVE, clicks)))
    ungraded = TABLE.replace("[data]", "[test]")
    assert "judges by the column 'grade', which the test set 'test' lacks" in refused(run("compare", config(TABLE, ungraded, NAIVE)))


def test_a_killed_compare_goes_on_from_its_finished_cells():
    dies = '[estimators.dies]\ntype = "mine_for_cli:Dies"\nseed = 2\n'
    c = config(SYNTHETIC, SIMULATE, NAIVE, dies, RUN.replace("seeds = 2", "seeds = 4"))
    assert in_a_process("compare", c, "--out", "out").returncode == -signal.SIGKILL
    kept = {path.name: path.stat().st_mtime_ns for path in Path("out/cells").iterdir()}
    assert sorted(kept) == ["dies-seed-0.npz", "dies-seed-1.npz", "naive-seed-0.npz", "naive-seed-1.npz", "naive-seed-2.npz"]
    assert not Path("out/report.html").exists()
    again = in_a_process("compare", c, "--out", "out")
    assert again.returncode == 0, again.stderr
    after = {path.name: path.stat().st_mtime_ns for path in Path("out/cells").iterdir()}
    assert len(after) == 8
    assert {name: after[name] for name in kept} == kept
    assert Path("out/report.html").exists()


def test_the_demo_runs_and_says_how_to_go_on(run, monkeypatch):
    text = (files("ultr") / "demo.toml").read_text()
    assert {"naive", "ips", "dla", "oracle"} == tomllib.loads(text)["estimators"].keys()
    small = re.sub(r"n_pages = .*", "n_pages = 800", re.sub(r"seeds = .*", "seeds = 2\nworkers = 1", text))
    config(small.replace("n_queries = 1000", "n_queries = 60"), name="demo.toml")
    monkeypatch.setattr("ultr.commands.compare.DEMO", Path("demo.toml").absolute())
    status, out, err = run("demo")
    assert status == 0, err
    assert "oracle" in out
    assert "copy that file" in out
    assert "8/8" in err  # the progress bar
    assert "<svg" in Path("ultr-demo/report.html").read_text()


# Fits


@pytest.mark.parametrize(
    "other", ['"mine_for_cli:three_on_screen"', '{type = "mine_for_cli:on_screen", light = 0.5}', "[1.0, 0.5, 0.25, 0.2]"]
)
def test_a_propensity_of_the_user_changes_the_result(run, other):
    done(run("fit", config(TABLE, IPS.replace("PROPENSITY", "[1.0, 1.0, 1.0, 1.0]")), "--out", "a"))
    done(run("fit", config(TABLE, IPS.replace("PROPENSITY", other)), "--out", "b"))
    assert Path("a/history.csv").read_text() != Path("b/history.csv").read_text()
    assert list(pd.read_csv("a/propensity.csv")["propensity"]) == [1, 1, 1, 1]
    light = {'"': 0.3, "{": 0.5, "[": 0.2}[other[0]]
    assert pd.read_csv("b/propensity.csv")["propensity"].iloc[3] == pytest.approx(light)


def test_both_forms_of_a_propensity_give_the_same_fit(run):
    done(run("fit", config(TABLE, IPS.replace("PROPENSITY", '"mine_for_cli:three_on_screen"')), "--out", "a"))
    done(run("fit", config(TABLE, IPS.replace("PROPENSITY", '{type = "mine_for_cli:three_on_screen"}')), "--out", "b"))
    assert Path("a/history.csv").read_text() == Path("b/history.csv").read_text()


def test_fit_can_simulate_and_warns_in_one_line_where_swaps_identify_nothing(run):
    fixed = '[simulate]\nn_pages = 500\npolicy = {type = "simulators:LinearPolicy"}\n'
    status, out, err = run("fit", config(SYNTHETIC, fixed, DLA), "--out", "out")
    assert status == 0
    assert "Swaps do not identify the propensities" in out
    assert re.fullmatch(r"ultr: warning: Swaps do not identify[^\n]*\n", err)


def test_the_first_seed_of_run_is_the_seed_of_a_fit(run):
    for seed in (0, 1):
        done(run("fit", config(TABLE, DLA, f"[run]\nseeds = [{seed}]"), "--out", f"seed{seed}"))
    assert Path("seed0/history.csv").read_text() != Path("seed1/history.csv").read_text()


# Where the data lies


def graded(folder: Path, name: str, width: int) -> None:
    folder.mkdir(exist_ok=True)
    lines = [f"{i % 3} qid:{i // 5} 1:0.{i % 7} {width}:0.{i % 3 + 1}" for i in range(100)]
    (folder / name).write_text("\n".join(lines) + "\n")


SVMRANK = """
[data]
type = "ultr:load_svmrank"
path = ["rank.train", "train.txt"]
about = "It comes with the example."
[test]
type = "ultr:load_svmrank"
path = ["rank.test", "test.txt"]
"""


@pytest.mark.parametrize("given", ["sets", "sets/train.txt"])
def test_data_points_to_a_folder_or_a_file(run, place, given):
    graded(place / "sets", "train.txt", width=4)
    graded(place / "sets", "test.txt", width=6)  # the narrower set is widened
    c = config(SVMRANK, SIMULATE, NAIVE, "[run]\nseeds = 2\nworkers = 1")
    done(run("compare", c, "--out", "out", "--data", given))


def test_without_data_files_are_looked_up_beside_the_config_then_in_the_working_directory(run, place):
    graded(place / "beside", "train.txt", width=4)
    graded(place, "test.txt", width=4)
    config(SVMRANK, SIMULATE, NAIVE, "[run]\nseeds = 2\nworkers = 1", name="beside/c.toml")
    done(run("compare", "beside/c.toml", "--out", "out"))


def test_missing_data_says_what_to_put_where(run, place):
    (place / "empty").mkdir()
    said = refused(run("compare", config(SVMRANK, SIMULATE, NAIVE), "--data", "empty"))
    assert "[data] There is no rank.train or train.txt (nor the same with .gz) in empty." in said
    assert "--data PATH" in said
    assert "It comes with the example." in said
    assert "--data nowhere: there is nothing" in refused(run("compare", config(SVMRANK, SIMULATE, NAIVE), "--data", "nowhere"))
    assert "--data empty has no effect" in refused(run("compare", config(SYNTHETIC, SIMULATE, NAIVE, RUN), "--data", "empty"))


EXPERIMENTS = sorted((Path(__file__).parent.parent / "experiments").glob("*.toml"))


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_experiments_can_be_built_and_say_which_files_they_need(run, path):
    experiment = read_config(path)
    assert len(experiment.named("estimators")) > 1
    assert experiment.named("metrics")
    assert experiment.run().baseline in experiment.sections["estimators"]
    simulated(experiment, ultr.synthetic_ranking(3, 12, 2))
    if "path" in experiment.sections["data"]:
        assert "rank.train, train.txt or set1.train.txt" in refused(run("compare", path, "--out", "out"))


# Bad input


def spoil(change) -> None:
    frame = impressions()
    changed = change(frame)
    (frame if changed is None else changed).to_csv("clicks.csv", index=False)


def put(column: str, row: int, value: object):
    def change(frame: pd.DataFrame) -> None:
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value

    return change


def as_graded(value: int):
    return lambda frame: frame.assign(grade=np.where(np.arange(len(frame)) == 5, value, 0))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda frame: frame.drop(columns="clicked"), r"clicks\.csv: columns names 'clicked', which the file lacks"),
        (lambda frame: frame.assign(again=1).rename(columns={"again": "clicked"}), "the header has clicked more than once"),
        (put("clicked", 3, 2), r"line 5.* has 2; 1 of 480 is wrong"),
        (put("clicked", 3, "yes"), "line 5.* has 'yes'"),
        (put("bm25", 4, np.nan), r"feature 'bm25' must be a finite number: line 6.* has nan; 1 of 480"),
        (lambda frame: frame.drop(columns="position").iloc[[0, 4, *range(1, 4), *range(5, 480)]], "adjacent|interleaved"),
        (put("position", 1, 1), "position"),
        (as_graded(-1), r"grade must be a whole number in 0\.\.31: line 7, page r1 has -1; 1 of 480"),
        (as_graded(1000), r"grade must be a whole number in 0\.\.31: line 7, page r1 has 1000; 1 of 480"),
        (lambda frame: frame.iloc[:0], "empty"),
        (lambda frame: frame.assign(clicked=0), "click"),
        (lambda frame: frame.assign(position=frame["position"] - 1), "first_position"),
    ],
)  # fmt: skip
def test_a_bad_table_is_refused_with_its_place(run, change, message):
    spoil(change)
    said = refused(run("fit", config(TABLE, DLA), "--out", "out"))
    assert re.search(message, said), said
    assert not Path("out").exists()


def test_files_that_cannot_be_read_are_refused_with_the_line(run):
    text = Path("clicks.csv").read_text()
    Path("clicks.csv").write_text(text[:-30])
    assert "line 481: the last line has no line end" in refused(run("import", config(TABLE), "--out", "log"))
    Path("set.txt").write_text("1 qid:1 1:0.5\n1 qid:1 1:x\n")
    svmrank = '[data]\ntype = "ultr:load_svmrank"\npath = "set.txt"\n'
    assert "set.txt, line 2" in refused(run("import", config(svmrank), "--out", "log"))
    Path("set.txt").write_text("99 qid:1 1:0.5\n")
    assert "set.txt, line 1" in refused(run("import", config(svmrank), "--out", "log"))


@pytest.mark.parametrize("value", ["0.0", "1.5"])
def test_propensities_out_of_range_are_refused(run, value):
    said = refused(run("fit", config(TABLE, IPS.replace("PROPENSITY", f"[1.0, 0.5, {value}, 0.2]")), "--out", "out"))
    assert "(0, 1]" in said
    assert value in said
    bound = f'{{type = "mine_for_cli:on_screen", light = {value}}}'
    said = refused(run("fit", config(TABLE, IPS.replace("PROPENSITY", bound)), "--out", "out"))
    assert re.search(rf"page 0, row 3 \(position 3\) has {re.escape(value)}; 120 of 480 rows", said)


def test_scores_that_are_nan_are_refused(run):
    none = '[estimators.none]\ntype = "mine_for_cli:NoScores"\n'
    said = refused(run("compare", config(SYNTHETIC, SIMULATE, none, RUN), "--out", "out"))
    assert "cell 'none', seed 0" in said
    assert "NaN" in said or "nan" in said


@pytest.mark.parametrize("file", ["fitted/model/model.json", "log/schema.json"])
def test_files_of_a_newer_version_are_refused(run, file):
    done(run("import", config(TABLE), "--out", "log"))
    done(run("fit", config(TABLE, DLA), "--out", "fitted"))
    content = json.loads(Path(file).read_text())
    Path(file).write_text(json.dumps({**content, "version": 99}))
    assert re.search("(format|version) 99", refused(run("score", "fitted", "log", "--out", "s.csv")))


def test_unknown_settings_name_the_nearest(run):
    said = refused(run("fit", config(TABLE, IPS.replace("propensity = PROPENSITY", "clp = 3")), "--out", "out"))
    assert said.startswith("[estimator] IPS has no setting 'clp'. Did you mean 'clip'? Settings: propensity, clip, normalise")
    said = refused(run("compare", config(SYNTHETIC, SIMULATE.replace("n_pages", "n_page"), NAIVE, RUN), "--out", "out"))
    assert said.startswith("[simulate] simulate_clicks has no setting 'n_page'. Did you mean 'n_pages'?")
    said = refused(run("compare", config(SYNTHETIC, SIMULATE.replace("500", "0"), NAIVE, RUN), "--out", "out"))
    assert "[simulate] n_pages must be a whole number of at least 1, not 0." in said


@pytest.mark.parametrize(
    "argv, message",
    [
        (["fitt"], "invalid choice: 'fitt'"),
        (["fit"], "required: CONFIG"),
        (["compare", "c.toml", "--seeds", "two"], "invalid int value: 'two'"),
        (["demo", "--ouot", "x"], "unrecognized arguments: --ouot"),
        (["fit", "none.toml"], "There is no config none.toml"),
        (["describe", "none"], "There is no log at"),
        (["describe", "clicks.csv"], "is a file; a log is a folder"),
        (["score", "none", "log", "--out", "s.csv"], "holds no model"),
        (["score", "none", "log", "--out", "s.txt"], "must end in .csv or .parquet"),
        (["compare", "c.toml"], "needs the section [estimators], which c.toml lacks. It has: [data]"),
        (["fit", "c.toml"], "needs exactly one estimator, [estimator] or [estimators.NAME]; c.toml has none"),
        (["simulate", "c.toml"], "needs the section [simulate]"),
        (["import", "c.toml", "--out", "clicks.csv"], "is no log, so it is never replaced"),
        (["fit", "two.toml"], "two.toml has [estimators.naive], [estimators.dla]"),
        (["fit", "two.toml", "--data", "c.toml"], "needs exactly one estimator"),
        (["compare", "two.toml"], "nothing to test on"),
        (["compare", "two.toml", "--out", "clicks.csv"], "is a file: choose another folder"),
    ],
)  # fmt: skip
def test_misuse_of_the_command_line(run, argv, message):
    config(TABLE)
    config(TABLE, NAIVE, DLA, name="two.toml")
    assert message in refused(run(*argv))


@pytest.mark.parametrize(
    "sections, message",
    [
        ([SYNTHETIC, NAIVE, RUN], "[data] is a graded set without clicks"),
        ([TABLE, SIMULATE, NAIVE, SYNTHETIC.replace("[data]", "[test]")], "[data] is a click log"),
        ([TABLE, NAIVE, RUN], "[run] test and judge_logged need a graded set"),
        ([SYNTHETIC, SIMULATE, NAIVE, RUN, "[test]\ntype = 'ultr:synthetic_ranking'"], "both say what to test on"),
        ([SYNTHETIC.replace("ultr:synthetic_ranking", "mine_for_cli:Raises"), NAIVE], "[data] Raises has no setting 'n_queries'"),
        (["[data]\ntype = 'mine_for_cli:Raises'", NAIVE], "[data] mine_for_cli:Raises gave Raises, which is neither"),
        (["[data]\ntype = 'ultr:load_svmrank'\npath = 3", NAIVE], "[data] path must be a file name, or a list of names"),
        ([SYNTHETIC, SIMULATE, NAIVE, RUN, "baseline = 'niave'"], "baseline 'niave' is none of the estimators. Did you mean 'naive'?"),
        ([SYNTHETIC, SIMULATE, "[estimators.x]\ntype = 'ultr.metrics:NDCG'", RUN], "has no fit(log, seed=)"),
        ([SYNTHETIC, SIMULATE, NAIVE, RUN, "[metrics.x]\ntype = 'ultr.metrics:NDGC'"], "[metrics.x] ultr.metrics has no 'NDGC'. Did"),
    ],
)  # fmt: skip
def test_sections_that_contradict_one_another(run, sections, message):
    assert message in refused(run("compare", config(*sections), "--out", "out"))


# Exit statuses


def test_a_bug_keeps_its_traceback():
    raises = '[estimator]\ntype = "mine_for_cli:Raises"\n'
    result = in_a_process("fit", config(TABLE, raises), "--out", "out")
    assert result.returncode == 1
    assert "Traceback" in result.stderr
    assert "RuntimeError: a bug" in result.stderr


def test_bad_input_in_a_process():
    result = in_a_process("fit", config(TABLE, IPS.replace("propensity = PROPENSITY", "clp = 3")))
    assert result.returncode == 2
    assert refused((result.returncode, result.stdout, result.stderr)).startswith("[estimator] IPS has no setting 'clp'.")


def test_an_interruption_is_one_line(run):
    raises = '[estimator]\ntype = "mine_for_cli:Raises"\nwhat = "stop"\n'
    assert run("fit", config(TABLE, raises), "--out", "out") == (130, "", "ultr: interrupted.\n")


def test_a_reader_that_goes_away_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run([sys.executable, "-m", "ultr", "--help"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    described = subprocess.run(
        f"{sys.executable} -m ultr describe {config(TABLE)} | true", shell=True, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in result.stderr + described.stderr


def test_version_and_help(capsys):
    for argv, text in ((["--version"], f"ultr {ultr.__version__}"), (["--help"], "usage: ultr"), (["fit", "--help"], "CONFIG")):
        with pytest.raises(SystemExit) as exit_:
            main(argv)
        assert exit_.value.code == 0
        assert text in capsys.readouterr().out
    assert main([]) == 0
    assert "usage: ultr" in capsys.readouterr().out


def test_each_warning_is_shown_once_as_one_line_and_the_filters_are_put_back(capsys, monkeypatch):
    def describe(log):
        for _ in range(2):
            warnings.warn("two\nlines", UltrWarning, stacklevel=1)
        return "described"

    monkeypatch.setattr("ultr.commands.describe.describe", describe)
    filters, show = list(warnings.filters), warnings.showwarning
    assert main(["describe", "log"]) == 0
    assert capsys.readouterr() == ("described\n", "ultr: warning: two lines\n")
    assert (warnings.filters, warnings.showwarning) == (filters, show)


def test_sigterm_ends_a_command_like_an_interrupt(tmp_path, monkeypatch, capsys):
    def terminated(arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        return "never"

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("ultr.cli._demo", terminated)
    assert main(["demo", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "ultr: interrupted.\n"
    assert signal.getsignal(signal.SIGTERM) == before
