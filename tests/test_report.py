"""The report: one page that loads nothing, reads well, escapes everything, and is written whole or not at all."""

import re
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from comparison_fakes import Fake, click_log, graded_set
from matplotlib.figure import Figure

import ultr
from ultr.errors import FileError
from ultr.evaluation.plot import draw_learning
from ultr.evaluation.report import report
from ultr.evaluation.wording import decimals, interval, listing, number, plural, runs, shared_decimals, verdict
from ultr.metrics import NDCG, AverageRelevantPosition

pytestmark = pytest.mark.filterwarnings("ignore::ultr.errors.IdentifiabilityWarning")
NASTY = "<script>alert('x')</script> & co"
VOID = {"meta", "br", "hr", "img", "input", "link"}


def result_of(**changes):
    arguments = {
        "estimators": {"naive": Fake(noise=3.0), NASTY: Fake(noise=1.0, curve=True, warn=f"beware {NASTY}"), "truth": Fake(noise=0.0)},
        "metrics": {"ndcg@3": NDCG(3), "position": AverageRelevantPosition()},
        "seeds": range(3),
    }
    return ultr.Comparison(click_log, graded_set(), **{**arguments, **changes}).run(progress=False)


@pytest.fixture(scope="module")
def result():
    return result_of()


class Page(HTMLParser):
    """Collects what a browser would see, and checks that every element is closed by its own end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.ids, self.words, self.attributes = [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)


@pytest.fixture(scope="module")
def page(result):
    return Page(report(result))


def test_nothing_is_loaded_from_outside(result, page):
    text = report(result)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "image"} & set(page.tags)
    assert not re.search(r"https?:|@import|//[a-z]", text)
    assert all(value.startswith("#") for _, name, value in page.attributes if name in ("href", "xlink:href", "src"))
    assert all("url(" not in value or "url(#" in value for _, _, value in page.attributes)


def test_names_settings_and_messages_are_escaped(result, page):
    assert "<script" not in report(result)
    assert "<script" not in result._repr_html_()
    assert NASTY in "".join(page.words)  # and shown as they are


def test_the_page_is_whole_and_accessible(page):
    assert [tag for tag in page.tags if tag in ("h1", "title")].count("h1") == 1
    assert ("html", "lang", "en") in page.attributes
    assert len(page.ids) == len(set(page.ids))
    figures = page.tags.count("svg")
    assert figures == 3
    labels = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-labelledby")]
    assert len(labels) == figures
    assert set(labels) <= set(page.ids)
    assert sum(1 for tag, name, value in page.attributes if (tag, name, value) == ("svg", "role", "img")) == figures
    assert page.tags.count("figcaption") == figures
    references = re.findall(r"#([\w-]+)", " ".join(value for _, name, value in page.attributes if name in ("xlink:href", "clip-path")))
    assert set(references) <= set(page.ids)


def test_the_text_of_figures_is_text(page):
    words = " ".join(page.words)
    for label in ("difference to naive", "propensity relative to rank 1", "held out", "step"):
        assert label in words


def test_the_words_say_what_was_compared_and_how_far_to_trust_it(result, page):
    words = " ".join("".join(page.words).split())
    assert "3 estimators, 3 seeds each, judged by ndcg@3 and position on 12 pages (test)." in words
    assert result.what_varies() in words
    assert "With 3 seeds an interval is wide, and no clear difference does not mean that there is none." in words
    assert f"IdentifiabilityWarning in {NASTY} (seeds 0–2)" in words
    assert "Fake(noise=3.0, curve=False, warn='', train_loss=0.1)" in words
    assert "better than naive:" in words


def test_equal_results_give_equal_bytes(result):
    assert report(result) == report(result)


def test_colours_follow_the_page(result):
    svg = "".join(re.findall(r"<svg.*?</svg>", report(result), flags=re.DOTALL))
    assert "currentColor" in svg
    assert "var(--grid)" in svg
    assert "#ffffff" not in svg.replace("stroke: #ffffff", "")  # no background; white only rings the dots


def test_drawing_leaves_matplotlib_as_it_was(result, tmp_path):
    before = dict(matplotlib.rcParams)
    result.to_html(tmp_path / "report.html")
    figure = result.plot()
    assert isinstance(figure, Figure)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("train_loss", [0.1, 40.0, -40.0])
def test_a_training_loss_on_another_scale_has_its_own_axis(train_loss):
    axes = Figure().subplots()
    draw_learning(axes, result_of(estimators={"e": Fake(curve=True, train_loss=train_loss)}), "e")
    assert len(axes.figure.axes) == (1 if train_loss == 0.1 else 2)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["training", "held out", "kept"]
    assert axes.get_ylim()[1] < 5  # the held-out curve fills its axis


@pytest.mark.parametrize(
    "changes",
    [
        {"estimators": {"only": Fake()}},
        {"seeds": [0]},
        {"estimators": {f"e{i}": Fake(noise=i) for i in range(12)}},
        {"metrics": {f"ndcg@{k}": NDCG(k) for k in (1, 2, 3, 4, 5)}},
    ],
    ids=["one estimator", "one seed", "twelve estimators", "five metrics"],
)
def test_every_shape_of_comparison_has_a_report_and_a_plot(changes):
    result = result_of(**changes)
    Page(report(result))
    Page(f"<div>{result._repr_html_()}</div>")
    result.plot()
    assert "estimator" in repr(result)


def test_the_file_is_written_whole_or_not_at_all(result, tmp_path, monkeypatch):
    file = tmp_path / "out" / "report.html"
    result.to_html(file)
    assert file.read_text(encoding="utf-8") == report(result)
    assert list(file.parent.iterdir()) == [file]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ultr.evaluation.store.os.fsync", full)
    with pytest.raises(FileError, match="No space left"):
        result.to_html(file)
    assert file.read_text(encoding="utf-8") == report(result)
    assert list(file.parent.iterdir()) == [file]


def test_the_table_shows_two_digits_of_the_interval(result):
    assert [decimals(x) for x in (0.0213, 0.21, 2.1, 21, 2100, 0.00099)] == [3, 2, 1, 0, 0, 5]
    assert [decimals(x) for x in (0.0, np.nan, np.inf)] == [4, 4, 4]
    assert shared_decimals([0.0065, 0.0007, 0.0024]) == 4
    assert shared_decimals([0.065, np.nan, 0.0]) == 3
    assert shared_decimals([np.nan]) == shared_decimals([]) == 4
    assert number(-0.01234, 3) == "−0.012"
    assert number(0.01234, 3, sign=True) == "+0.012"
    assert number(np.nan, 3) == "–"
    assert interval(-0.5, 0.25, 2, sign=True) == "[−0.50, +0.25]"
    assert interval(np.nan, 1, 2) == "–"


def test_words_by_hand():
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert [plural(n, "query") for n in (1, 2)] == ["1 query", "2 queries"]
    assert plural(1200, "page") == "1,200 pages"
    assert runs([4, 0, 1, 2, 7]) == "0–2, 4, 7"
    assert verdict(0.1, 0.2, True) == verdict(-0.2, -0.1, False) == "better"
    assert verdict(-0.2, -0.1, True) == verdict(0.1, 0.2, False) == "worse"
    assert verdict(-0.1, 0.1, True) == "no clear difference"
    assert verdict(np.nan, np.nan, True) == "unknown"
