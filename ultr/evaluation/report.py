"""The report of a comparison: one page that says what was compared, what came out, and how far to trust it."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

import ultr
from ultr.evaluation.outcome import Line, findings, groups, head
from ultr.evaluation.page import figure, page, table
from ultr.evaluation.plot import difference_picture, learning_picture, propensity_picture
from ultr.evaluation.wording import listing, number, plural, runs

if TYPE_CHECKING:
    from ultr.evaluation.result import ComparisonResult


def report(result: ComparisonResult) -> str:
    """Return the whole page. It loads no script, style, font or image; equal results give equal bytes."""
    others = [name for name in result.estimators if name != result.baseline]
    compared = listing(others) if 1 <= len(others) <= 4 else plural(len(others), "estimator")
    title = f"{compared} compared with {result.baseline}" if others else result.baseline
    sections = [
        f"<header>\n<h1>{escape(title)}</h1>\n{_lead(result)}\n</header>",
        _outcome(result),
        _propensities(result),
        _learning(result),
        _notes(result),
        _reading(result),
        _settings(result),
        f"<footer>Made with ultr {escape(ultr.__version__)}.</footer>",
    ]
    return page(title, "\n".join(section for section in sections if section))


def fragment(result: ComparisonResult) -> str:
    """Return the tables and notes for a notebook, which brings its own style."""
    parts = [_outcome_table(result), f"<p>{escape(result.how_to_read())}</p>"]
    return "\n".join(
        [*parts, *(f"<p><b>{escape(n.category)}</b> in {escape(n.where())}: {escape(n.message)}</p>" for n in result.warnings)]
    )


def _lead(result: ComparisonResult) -> str:
    tests = [f"{plural(pages, 'page')} ({name})" for name, pages in result.tests.items()]
    runs_of = f"{plural(len(result.estimators), 'estimator')}, {plural(len(result.seeds), 'seed')} each"
    what = f"{runs_of}, judged by {listing(list(result.metrics))} on {listing(tests)}."
    found = "\n".join(f"<li><strong>{escape(where)}</strong>: {escape(said)}.</li>" for where, said in findings(result))
    return f'<p class="lead">{escape(what)} {escape(result.how_to_read())}</p>' + (
        f'\n<ul class="findings">\n{found}\n</ul>' if found else ""
    )


def _outcome(result: ComparisonResult) -> str:
    several = len(result.estimators) > 1
    heading, drawing = (f"Difference to {result.baseline}", figure(difference_picture(result))) if several else ("Outcome", "")
    return f"<section>\n<h2>{escape(heading)}</h2>\n{drawing}\n{_outcome_table(result)}\n</section>"


def _outcome_table(result: ComparisonResult) -> str:
    caption = "Means over queries, then over seeds."
    if len(result.estimators) > 1:
        caption += f" Differences are paired by seed and query: estimator minus {result.baseline}."
    return table(caption, head(result), groups(result), words=(0, 7))


def _propensities(result: ComparisonResult) -> str:
    if not len(result.curves):
        return ""
    means = {str(name): curve.groupby("position")["propensity"].mean() for name, curve in result.curves.groupby("estimator", sort=False)}
    width = max(len(mean) for mean in means.values())
    lines = [Line([name, *(number(float(mean.get(k, np.nan)), 3) for k in range(width))]) for name, mean in means.items()]
    if result.truth is not None:
        truth = np.pad(result.truth[:width], (0, max(0, width - len(result.truth))), constant_values=np.nan)
        lines.append(Line(["truth", *(number(float(value), 3) for value in truth)]))
    ranks = ["rank", *(str(k + 1) for k in range(width))]
    numbers = table("Mean over seeds, relative to rank 1.", ranks, {"": lines})
    return f"<section>\n<h2>Propensity curves</h2>\n{figure(propensity_picture(result))}\n{numbers}\n</section>"


def _learning(result: ComparisonResult) -> str:
    if not len(result.histories):
        return ""
    return f"<section>\n<h2>Learning curves</h2>\n{figure(learning_picture(result))}\n</section>"


def _notes(result: ComparisonResult) -> str:
    notes = [
        f'<div class="note" role="note"><p><strong>{escape(note.category)}</strong> in {escape(note.where())}</p>\n'
        f"<p>{escape(note.message)}</p></div>"
        for note in result.warnings
    ]
    for panel in result.panels:
        undefined = max(panel.undefined(e) for e in range(len(result.estimators)))
        if undefined:
            n = panel.scores.shape[-1]
            text = f"{panel.title(True)}: undefined on {undefined:,} of {plural(n, panel.unit)}, which are left out of its means."
            notes.append(f"<p>{escape(text)}</p>")
    if not notes:
        return ""
    return "<section>\n<h2>Notes</h2>\n" + "\n".join(notes) + "\n</section>"


def _reading(result: ComparisonResult) -> str:
    entries = {
        "over seeds": "Covers what changes with the seed, on these very queries. Student's t, paired by seed.",
        "over seeds and queries": (
            "Covers other queries of the same kind as well: what to expect on the next test set. Crossed random effects of seed and query; "
            "wider than the interval over seeds where few queries decide."
        ),
        "verdict": (
            "Better or worse where the interval over seeds misses 0; “on these queries” where the interval over seeds and queries does not."
        ),
    }
    if len(result.curves):
        source = f" Truth: {result.truth_source}." if result.truth_source else ""
        entries["propensity"] = f"How likely a rank is to be examined, divided by that of rank 1.{source}"
    lines = "\n".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in entries.items())
    return f"<section>\n<h2>How to read this</h2>\n<dl>\n{lines}\n</dl>\n</section>"


def _settings(result: ComparisonResult) -> str:
    seconds = result.fits.groupby("estimator")["seconds"].mean()
    fits = result.fits
    logs = f"{fits['pages'].min():,} pages, {fits['rows'].min():,} rows" if len(fits) else "none"
    entries = [(name, f"<code>{escape(text)}</code>", f"{seconds[name]:.1f} s a fit") for name, text in result.estimators.items()]
    entries += [(name, f"<code>{escape(text)}</code>", "") for name, text in result.metrics.items()]
    entries += [("training log", escape(("one for each seed, " if result.clicks_vary else "one for all seeds, ") + logs), "")]
    entries += [("seeds", escape(runs(result.seeds)), "")]
    lines = "\n".join(
        f"<dt>{escape(n)}</dt><dd>{text}{f' <span class=soft>{more}</span>' if more else ''}</dd>" for n, text, more in entries
    )
    return f"<section>\n<h2>Settings</h2>\n<dl>\n{lines}\n</dl>\n</section>"
