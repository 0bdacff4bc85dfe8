"""Training in two processes: all end with the same weights, and with full batches with those of one process."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import rank_script
import torch

from ultr import ParquetLog
from ultr.data.source import gather, mapped
from ultr.errors import ConfigError
from ultr.training import labelled, ranks

NAMES = list(rank_script.ESTIMATORS)


def together(place: Path, n: int) -> list[dict[str, np.ndarray]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(n), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, rank_script.__file__, str(place), ",".join(NAMES)]
    processes = [subprocess.Popen(command, env={**shared, "RANK": str(rank)}) for rank in range(n)]
    assert [process.wait(timeout=200) for process in processes] == [0] * n
    return [dict(np.load(place / f"rank{rank}of{n}.npz")) for rank in range(n)]


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> tuple[dict[str, np.ndarray], list[dict[str, np.ndarray]]]:
    place = tmp_path_factory.mktemp("ranks")
    rank_script.prepare(place)
    return together(place, 1)[0], together(place, 2)


@pytest.mark.parametrize("what", ["weights", "scores", "validation"])
@pytest.mark.parametrize("name", NAMES)
def test_both_processes_end_with_the_same_bits(name, what, found):
    _, (first, second) = found
    assert np.array_equal(first[f"{name} {what}"], second[f"{name} {what}"])


def test_both_processes_end_with_the_same_bits_where_they_stream(found):
    alone, (first, second) = found
    assert np.array_equal(first["streamed weights"], second["streamed weights"])
    assert not np.array_equal(first["streamed weights"], alone["streamed weights"])


@pytest.mark.parametrize("name", NAMES)
def test_full_batches_shared_out_are_the_full_batch(name, found):
    alone, (first, _) = found
    ours, theirs = (one[f"{name} scores"] - one[f"{name} scores"].mean() for one in (first, alone))  # a soft-max leaves the level open
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(first[f"{name} validation"], alone[f"{name} validation"], rtol=1e-4)
    if f"{name} propensity" in alone:
        np.testing.assert_allclose(first[f"{name} propensity"], alone[f"{name} propensity"], rtol=2e-3)


def test_the_same_queries_are_held_out_and_pages_are_shared_out(found):
    alone, pair = found
    assert all(np.array_equal(one["held out"], alone["held out"]) for one in pair)
    assert sum(one["mine"] for one in pair).tolist() == alone["mine"].tolist()
    assert min(one["mine"][0] for one in pair) > rank_script.PAGES // 3


def test_a_log_of_one_row_group_is_shared_out_page_by_page(monkeypatch, tmp_path):
    log = rank_script.make_log()
    log.write_parquet(tmp_path / "log")
    source = ParquetLog.open(tmp_path / "log")
    assert len(source.groups) == 1
    monkeypatch.setattr(labelled.ranks, "world", lambda: 3)
    shares = []
    for rank in range(3):
        monkeypatch.setattr(labelled.ranks, "rank", lambda rank=rank: rank)
        shares.append(gather(labelled._share(mapped(source, lambda log: log))))
    assert [len(share) for share in shares] == [400, 400, 400]
    items = np.concatenate([share.columns["item"] for share in shares])
    assert np.array_equal(np.sort(items), np.sort(log.columns["item"]))


# The command


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rank_script.make_log().write_parquet(tmp_path / "log")
    return tmp_path


def run(folder: Path, config: str, *arguments: str) -> subprocess.CompletedProcess:
    (folder / "c.toml").write_text(f'[data]\ntype = "ultr:ParquetLog.open"\npath = "log"\n{config}\n')
    command = [sys.executable, "-m", "ultr", "fit", "c.toml", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)


NAIVE = '[estimator]\ntype = "ultr.estimators:Naive"\ntraining = {type = "ultr:Training", steps = 20, check_every = 10}'


def test_the_command_fits_in_two_processes_and_writes_once(folder):
    done = run(folder, NAIVE, "--nproc", "2", "--out", "two")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("fitted on 1,200 pages with seed 0 by 2 processes") == 1
    assert sorted(path.name for path in (folder / "two").iterdir()) == ["history.csv", "model"]
    assert pd.read_csv(folder / "two" / "history.csv")["loss"].notna().all()


@pytest.mark.parametrize(
    ("config", "arguments", "message"),
    [
        (NAIVE, ["--nproc", "0"], "--nproc must be at least 1"),
        ('[estimator]\ntype = "ultr.estimators:UnbiasedLambdaMART"', ["--nproc", "2"], "trains in one process"),
        (NAIVE, ["--nproc", "100000"], "more than four processes a processor"),
        (NAIVE.replace("steps", "stepps"), ["--nproc", "2"], "no setting 'stepps'"),
    ],
)
def test_bad_input_is_one_line_from_all_processes(config, arguments, message, folder):
    done = run(folder, config, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_tables_of_embeddings_train_in_one_process(monkeypatch):
    table = torch.nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1, 1])).sum().backward()
    monkeypatch.setattr(ranks, "_together", lambda: True)
    with pytest.raises(ConfigError, match="train in one process"):
        ranks.average_gradients([table])
