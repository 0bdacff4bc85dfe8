"""The look of a report: its style sheet, tables, and figures as SVG inside the page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from io import StringIO

from ultr.evaluation.outcome import Line
from ultr.evaluation.plot import GRID, INK, Picture, styled

CSS = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --grid: #d5d9df; --paper: #ffffff; --panel: #f6f7f9; --accent: #2f7fd1;
  --good: #157347; --bad: #b3372c; --warn: #8a5a00; --warnpaper: #fff7e3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa4af; --grid: #3a424c; --paper: #14171b; --panel: #1c2026;
  --accent: #6aaef0; --good: #4cc38a; --bad: #f0857b; --warn: #e8b64c; --warnpaper: #2a2415; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.8rem; line-height: 1.2; margin: 0 0 .6rem; letter-spacing: -.01em; }
h2 { font-size: 1.2rem; margin: 2.8rem 0 .6rem; padding-top: .9rem; border-top: 1px solid var(--grid); }
p { margin: .5rem 0; max-width: 46rem; }
.lead { font-size: 1.08rem; max-width: 52rem; }
ul.findings { margin: 1.1rem 0; padding: .8rem 1rem .8rem 2rem; background: var(--panel); border-radius: .5rem; }
ul.findings li { margin: .25rem 0; }
.soft, figcaption, caption { color: var(--soft); font-size: .9rem; }
figure { margin: 1rem 0; } figcaption { max-width: 46rem; margin-top: .3rem; }
figure svg { display: block; width: 100%; height: auto; min-width: 34rem; max-width: 60rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .4rem; }
th, td { padding: .34rem .7rem; text-align: left; vertical-align: baseline; border-bottom: 1px solid var(--grid); }
thead th { font-weight: 600; color: var(--soft); border-bottom: 2px solid var(--grid); vertical-align: bottom; }
tbody th { font-weight: 500; } .word { white-space: nowrap; }
.group { color: var(--ink); font-weight: 650; padding-top: 1rem; border-bottom: 0; }
.number { text-align: right; white-space: nowrap; } thead .number { white-space: normal; }
.better { color: var(--good); font-weight: 600; } .worse { color: var(--bad); font-weight: 600; } .none { color: var(--soft); }
code { font: .86em/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; overflow-wrap: anywhere; white-space: pre-wrap; }
.note { background: var(--warnpaper); border-left: 3px solid var(--warn); padding: .6rem .9rem; margin: .8rem 0; max-width: 50rem; }
.note p { margin: .2rem 0; max-width: none; } .note strong { color: var(--warn); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .35rem 1rem; } dt { font-weight: 600; } dd { margin: 0; max-width: 46rem; }
footer { margin-top: 3rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
@media print { main { max-width: none; padding: 0; } h2 { break-after: avoid; } figure, table, .note { break-inside: avoid; } }
""".strip()


def page(title: str, body: str) -> str:
    """Wrap the body into a whole document that loads nothing from outside."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{CSS}\n</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def table(caption: str, head: Sequence[str], groups: Mapping[str, Sequence[Line]], words: Sequence[int] = (0,)) -> str:
    """Write a table.

    Args:
        caption: What it shows, plain text.
        head: Column headings, plain text.
        groups: Heading of a group of lines (none where it is empty) -> its lines.
        words: Columns of words; all others hold numbers and are right-aligned.
    """

    def cell(line: Line, column: int, text: str) -> str:
        names = ["word" if column in words else "number"] + ([line.mark] if line.mark and column == len(head) - 1 else [])
        tag, scope = ("th", ' scope="row"') if column == 0 else ("td", "")
        return f'<{tag}{scope} class="{" ".join(names)}">{escape(text)}</{tag}>'

    def group(title: str, lines: Sequence[Line]) -> str:
        over = f'<tr><th scope="rowgroup" colspan="{len(head)}" class="group">{escape(title)}</th></tr>\n' if title else ""
        return over + "\n".join(f"<tr>{''.join(cell(line, c, text) for c, text in enumerate(line.cells))}</tr>" for line in lines)

    heads = "".join(f'<th scope="col" class="{"word" if i in words else "number"}">{escape(text)}</th>' for i, text in enumerate(head))
    bodies = "\n".join(f"<tbody>\n{group(title, lines)}\n</tbody>" for title, lines in groups.items())
    return f'<div class="scroll"><table>\n<caption>{escape(caption)}</caption>\n<thead><tr>{heads}</tr></thead>\n{bodies}\n</table></div>'


def figure(picture: Picture) -> str:
    """Write a figure as SVG within the page: real text, in the page's colours, the same bytes for the same numbers."""
    file = StringIO()
    styled(lambda: picture.figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None}))
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\s+xmlns(:xlink)?="[^"]*"', "", svg, count=2)
    svg = svg.replace("DejaVu Sans", "system-ui").replace(INK, "currentColor").replace(GRID, "var(--grid)")
    for name in set(re.findall(r'id="([^"]+)"', svg)):  # ids have to be unique in the page, not only in the figure
        svg = re.sub(rf'(id="|"#|url\(#){re.escape(name)}(?=["\)])', rf"\g<1>{picture.key}-{name}", svg)
    title = f"{picture.key}-title"
    svg = svg.replace("<svg ", f'<svg role="img" aria-labelledby="{title}" ', 1)
    svg = re.sub(r"(<svg[^>]*>)", rf'\g<1><title id="{title}">{escape(picture.description)}</title>', svg, count=1)
    return f'<figure>\n<div class="scroll">{svg.strip()}</div>\n<figcaption>{escape(picture.caption)}</figcaption>\n</figure>'
