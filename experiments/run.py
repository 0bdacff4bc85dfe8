"""Run the claims: every .toml here through `ultr compare`, its result to results/NAME.json, and the tables of the READMEs from those.

    python experiments/run.py [NAME ...] [--data FOLDER] [--out FOLDER] [--workers N]
    python experiments/run.py --tables         # only the tables, from the results that are there

FOLDER holds the LightGBM lambdarank example (rank.train, rank.test and their .query files). A killed run goes on from its finished cells.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
RESULTS = HERE / "results"
SHOWN = {  # what the README at the top shows, and judged on which queries
    "dla_synthetic_new_world": "test",
    "dla_lightgbm": "logged",
    "position_bias_synthetic": "test",
    "trust_bias_synthetic": "test",
    "unbiased_lambdamart_lightgbm": "logged",
}
MARKS = ("<!-- results: made by experiments/run.py --tables from experiments/results -->\n", "<!-- end of results -->")


def run(config_path: Path, data: Path | None, out: Path, workers: int | None) -> None:
    """Run one claim and write its result."""
    import torch

    from ultr.commands.compare import comparison_of
    from ultr.config import read_config
    from ultr.engine import Processes

    config = read_config(config_path)
    reads_files = "path" in config.sections["data"]
    comparison = comparison_of(config, config.run(), data if reads_files else None)
    result = comparison.run(Processes(workers), directory=out / config_path.stem)
    result.to_html(out / config_path.stem / "report.html")
    found = {
        "claim": claim_of(config_path),
        "seeds": len(result.seeds),
        "baseline": result.baseline,
        "table": json.loads(result.table.to_json(orient="records")),
        "paired": json.loads(result.paired.to_json(orient="records")),
        "propensity": propensity_errors(result),
        "warnings": [note.message for note in result.warnings],
        "machine": {"cpus": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version(), "torch": torch.__version__},
    }
    RESULTS.mkdir(exist_ok=True)
    result.plot().savefig(RESULTS / f"{config_path.stem}.png", dpi=60)
    (RESULTS / f"{config_path.stem}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def claim_of(config_path: Path) -> str:
    """Return the comment at the top of a config, without the line that says how to run it."""
    lines = []
    for line in config_path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# ") or line.startswith("# ultr "):
            break
        lines.append(line[2:])
    return " ".join(lines)


def propensity_errors(result: object) -> dict[str, dict[str, object]]:
    """Compare every learned curve with the truth: the largest error over positions of each seed, and the mean curve."""
    truth, curves = result.truth, result.curves
    if truth is None or curves.empty:
        return {}
    found = {}
    for name, of_estimator in curves.groupby("estimator", sort=False):
        by_seed = of_estimator.pivot(index="seed", columns="position", values="propensity").to_numpy()
        worst = np.nanmax(np.abs(by_seed - np.asarray(truth)[: by_seed.shape[1]]), axis=1)
        found[str(name)] = {
            "largest error, mean": worst.mean(),
            "largest error, worst seed": worst.max(),
            "mean curve": list(by_seed.mean(0)),
        }
    return found


def signed(value: float) -> str:
    """Format a difference."""
    return f"{value:+.4f}"


def table_of_results(chosen: Mapping[str, str] | None = None) -> str:
    """Lay the paired differences of all results, or of those chosen (name: what they are judged on), out as a Markdown table."""
    head = (
        "experiment",
        "judged on",
        "compared",
        "difference [95% over seeds and queries]",
        "seeds won",
        "propensity error, mean (worst seed)",
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for path in sorted(RESULTS.glob("*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        rows = found.get("paired", [])
        if chosen is not None:
            rows = [row for row in rows if row["test"] == chosen.get(path.stem)]
        for row in rows:
            error = found["propensity"].get(row["estimator"])
            shown = f"{error['largest error, mean']:.3f} ({error['largest error, worst seed']:.3f})" if error else ""
            difference = f"{signed(row['difference'])} [{signed(row['two_way_low'])}, {signed(row['two_way_high'])}]"
            compared = f"{row['estimator']} − {found['baseline']}"
            lines.append(f"| {path.stem} | {row['test']} | {compared} | {difference} | {row['wins']} | {shown} |")
    return "\n".join(lines) + "\n"


def write_tables() -> None:
    """Replace what stands between the marks in both READMEs."""
    pattern = re.compile(re.escape(MARKS[0]) + ".*?" + re.escape(MARKS[1]), flags=re.S)
    for readme, chosen in ((HERE / "README.md", None), (HERE.parent / "README.md", SHOWN)):
        text, table = readme.read_text(encoding="utf-8"), table_of_results(chosen)
        readme.write_text(pattern.sub(lambda _, table=table: MARKS[0] + table + MARKS[1], text), encoding="utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="claims to run; all when none is named")
    parser.add_argument("--data", type=Path, help="folder of the LightGBM lambdarank example")
    parser.add_argument("--out", type=Path, default=Path("out"), help="where reports and finished cells go")
    parser.add_argument("--workers", type=int, help="processes; one a core when not given")
    parser.add_argument("--tables", action="store_true", help="only write the tables")
    arguments = parser.parse_args()
    if not arguments.tables:
        for path in sorted(HERE.glob("*.toml")):
            if not arguments.names or path.stem in arguments.names:
                print(path.stem, flush=True)
                run(path, arguments.data, arguments.out, arguments.workers)
    write_tables()


if __name__ == "__main__":
    main()
