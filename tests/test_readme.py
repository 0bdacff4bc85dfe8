"""The README's blocks run as they stand, and its numbers come from the results."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.M | re.S)


def blocks(language: str) -> list[str]:
    return [text for kind, text in BLOCKS if kind == language]


def impressions(rng: np.random.Generator, n_pages: int = 300) -> pd.DataFrame:
    """A shop's log: position-biased clicks on items whose features differ by query."""
    lines = []
    for page in range(n_pages):
        query = int(rng.integers(30))
        for rank, sku in enumerate(rng.permutation(8)[:5], start=1):
            bm25, price, rating = np.random.default_rng([query, sku]).normal(size=3)
            clicked = int(rng.random() < 1 / rank / (1 + np.exp(-bm25 - rating)))
            lines.append((f"r{page}", f"sku-{sku}", clicked, rank, f"term {query}", bm25, price, rating))
    return pd.DataFrame(lines, columns=["request_id", "sku", "clicked", "rank", "search_term", "bm25", "price", "rating"])


def test_python_blocks_run_in_order(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), namespace)
    assert (tmp_path / "report.html").is_file()
    assert "nDCG@10" in capsys.readouterr().out


def test_commands_run_on_the_table_that_the_toml_describes(tmp_path):
    toml, _ = blocks("toml")
    (tmp_path / "shop.toml").write_text(toml, encoding="utf-8")
    impressions(np.random.default_rng(0)).to_csv(tmp_path / "impressions.csv", index=False)
    commands = [line.split("#")[0] for block in blocks("sh") for line in block.splitlines() if line.startswith("ultr ")]
    assert len(commands) == 4
    for command in commands:
        arguments = [sys.executable, "-m", *shlex.split(command)]
        done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, f"{command}: {done.stderr}"
    scores = pd.read_csv(tmp_path / "scores.csv")
    assert {"page", "item", "score", "rank"} <= set(scores.columns)
    assert len(scores) == 1500


def test_conversions_are_compared_as_the_toml_says(tmp_path):
    _, toml = blocks("toml")
    (tmp_path / "c.toml").write_text(toml, encoding="utf-8")
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        clicked = rng.random(3000) < 0.3
        columns = {"ad": rng.integers(20, size=3000), "user": rng.integers(200, size=3000), "price": rng.random(3000)}
        frame = pd.DataFrame(columns).assign(clicked=clicked * 1, bought=clicked * (rng.random(3000) < 0.3), id=np.arange(3000))
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    command = [sys.executable, "-m", "ultr", "compare", "c.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "ctcvr_auc" in done.stdout


def test_the_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = [line.split()[1] for block in blocks("sh") for line in block.splitlines() if line.startswith("make ")]
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, flags=re.M)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_lead_somewhere(link):
    assert (ROOT / link).exists()
