"""The main table of a comparison in words, for the terminal, the notebook and the report alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ultr.evaluation.wording import interval, listing, number, shared_decimals, verdict

if TYPE_CHECKING:
    import pandas as pd

    from ultr.evaluation.panel import Panel
    from ultr.evaluation.result import ComparisonResult

HEAD = ("estimator", "mean", "sd over seeds", "difference", "95% over seeds", "95% over seeds and queries", "seeds won", "verdict")


@dataclass(frozen=True)
class Line:
    """One line of a table: its cells as plain text, the first one its heading; `mark` says what the last cell means."""

    cells: Sequence[str]
    mark: str = ""


def head(result: ComparisonResult) -> Sequence[str]:
    """Return the headings: with one estimator there is no difference to speak of."""
    return HEAD if len(result.estimators) > 1 else HEAD[:3]


def groups(result: ComparisonResult) -> Mapping[str, list[Line]]:
    """Return the lines for each metric and test set: means and paired differences side by side."""
    width = len(head(result))
    return {
        panel.title(len(result.tests) > 1): [Line(line.cells[:width], line.mark) for line in _group(result, panel)]
        for panel in result.panels
    }


def _group(result: ComparisonResult, panel: Panel) -> Iterator[Line]:
    paired = {line["estimator"]: line for line in lines_of(result.paired, panel)}
    means = lines_of(result.table, panel)
    digits = shared_decimals([line["sd"] for line in means])
    precise = shared_decimals([(line["high"] - line["low"]) / 2 for line in paired.values()])
    for mean in means:
        cells = [mean["estimator"], number(mean["mean"], digits), number(mean["sd"], digits)]
        d = paired.get(mean["estimator"])
        if d is None:
            yield Line([*cells, "", "", "", "", "baseline"], "none")
            continue
        difference = number(d["difference"], precise, sign=True)
        intervals = [interval(d[f"{way}low"], d[f"{way}high"], precise, sign=True) for way in ("", "two_way_")]
        sign, both = (verdict(d[f"{way}low"], d[f"{way}high"], panel.higher_is_better) for way in ("", "two_way_"))
        said = sign if sign not in ("better", "worse") or both in (sign, "unknown") else f"{sign} on these queries"
        yield Line([*cells, difference, *intervals, d["wins"].replace("/", " of "), said], sign if sign in ("better", "worse") else "none")


def lines_of(frame: pd.DataFrame, panel: Panel) -> list[dict]:
    """Return the lines of a result's table that belong to a panel."""
    return frame[(frame["test"] == panel.test) & (frame["metric"] == panel.metric)].to_dict("records")


def as_text(result: ComparisonResult) -> str:
    """Lay the table out for a terminal: words to the left, numbers to the right."""
    lines = [list(head(result))]
    for title, group in groups(result).items():
        lines += [[title], *(list(line.cells) for line in group)]
    widths = [max(len(line[i]) for line in lines if len(line) > 1) for i in range(len(lines[0]))]

    def lay(line: Sequence[str]) -> str:
        if len(line) == 1:
            return f"\n{line[0]}"
        cells = [text.ljust(n) if i in (0, 7) else text.rjust(n) for i, (text, n) in enumerate(zip(line, widths, strict=True))]
        return "  ".join(cells).rstrip()

    return "\n".join(lay(line) for line in lines)


def findings(result: ComparisonResult) -> Iterator[tuple[str, str]]:
    """Say for each metric and test set who is better than the baseline and who is not; the verdict is that of the interval over seeds."""
    forms = {
        "better": f"better than {result.baseline}: ",
        "worse": f"worse than {result.baseline}: ",
        "no clear difference": f"no clear difference to {result.baseline}: ",
        "unknown": f"difference to {result.baseline}, of unknown certainty: ",
    }
    for panel in result.panels:
        found: dict[str, list[str]] = {}
        lines = lines_of(result.paired, panel)
        precise = shared_decimals([(line["high"] - line["low"]) / 2 for line in lines])
        for line in lines:
            text = f"{line['estimator']} ({number(line['difference'], precise, sign=True)})"
            found.setdefault(verdict(line["low"], line["high"], panel.higher_is_better), []).append(text)
        if found:
            yield (
                panel.title(len(result.tests) > 1),
                "; ".join(form + listing(found[sign]) for sign, form in forms.items() if sign in found),
            )
