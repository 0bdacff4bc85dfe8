"""Credit rules by position and time: shares by hand, laws for every rule, and what bad journeys and bad rules are told."""

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ultr
from ultr import ClickLog, ParquetLog
from ultr.attribution import (
    AttributionRule,
    FirstTouch,
    Hazard,
    LastTouch,
    Linear,
    MarkovRemoval,
    Shapley,
    TimeDecay,
    UShaped,
    channel_credit,
)
from ultr.data.source import Chunked
from ultr.engine import Processes, Serial
from ultr.errors import ConfigError, ContractError, LogError, UltrWarning
from ultr.random import generator

LAW = settings(deadline=None, max_examples=30)  # of the laws that every rule or game has to obey
BY_PLACE = [FirstTouch(), LastTouch(), Linear(), TimeDecay(), UShaped(), UShaped(first=0.1, last=0.6)]
DATA_DRIVEN = [Shapley(), MarkovRemoval(), MarkovRemoval(order=2), MarkovRemoval(order=3), Hazard()]


def journeys_of(paths, converted, count=None, time=None):
    """A log of journeys from lists of channels."""
    offsets = np.cumsum([0, *map(len, paths)])
    item = np.array([channel for path in paths for channel in path])
    columns = {"item": item if len(item) else np.zeros(0, dtype=np.int64)}
    pages = {"converted": np.array(converted)}
    if count is not None:
        pages["count"] = np.array(count)
    if time is not None:
        columns["time"] = np.array([moment for times in time for moment in times], dtype=float)
    return ultr.ClickLog(offsets, columns, pages)


def credits_of(rule, log):
    """The credits, journey by journey."""
    return np.split(rule.credit(log), log.offsets[1:-1])


def one(rule, *times):
    """The credits of one journey that converted."""
    return rule.credit(journeys_of([list(range(len(times)))], [1], time=[times]))


@st.composite
def some_journeys(draw):
    """Journeys of few channels with counts and times: some empty, some of one touch, at least one converted."""
    paths = [*draw(st.lists(st.lists(st.integers(0, 4), max_size=6), min_size=1, max_size=8)), [draw(st.integers(0, 4))]]
    count = [draw(st.integers(1, 4)) for _ in paths]
    converted = [draw(st.integers(0, n)) if path else 0 for path, n in zip(paths, count, strict=True)]
    converted[-1] = count[-1]
    time = [np.cumsum([draw(st.floats(0, 20)) for _ in path]) for path in paths]
    return journeys_of(paths, converted, count, time)


def test_shares_by_hand():
    assert one(FirstTouch(), 0, 1, 5).tolist() == [1, 0, 0]
    assert one(LastTouch(), 0, 1, 5).tolist() == [0, 0, 1]
    assert one(Linear(), 0, 1, 5) == pytest.approx([1 / 3] * 3, abs=1e-15)
    assert one(TimeDecay(half_life=7), 0, 7, 14) == pytest.approx([1 / 7, 2 / 7, 4 / 7], abs=1e-15)
    assert one(UShaped(), 0, 1, 2, 3) == pytest.approx([0.4, 0.1, 0.1, 0.4], abs=1e-15)
    assert one(UShaped(first=0.2, last=0.5), 0, 1, 2, 3) == pytest.approx([0.2, 0.15, 0.15, 0.5], abs=1e-15)


def test_u_shape_of_two_touches_and_of_one():
    assert one(UShaped(), 0, 1) == pytest.approx([0.5, 0.5])
    assert one(UShaped(first=0.2, last=0.6), 0, 1) == pytest.approx([0.25, 0.75])
    assert one(UShaped(first=0, last=0), 0, 1) == pytest.approx([0.5, 0.5])
    assert one(UShaped(first=0, last=0), 0, 1, 2) == pytest.approx([0, 1, 0])
    assert one(UShaped(first=0.1, last=0.2), 3) == pytest.approx([1])


def test_decay_goes_from_linear_to_the_last_touch():
    assert one(TimeDecay(half_life=np.inf), 0, 1, 50) == pytest.approx([1 / 3] * 3)
    assert one(TimeDecay(half_life=1e9), 0, 1, 50) == pytest.approx([1 / 3] * 3)
    assert one(TimeDecay(half_life=1e-9), 0, 1, 50) == pytest.approx([0, 0, 1])
    assert one(TimeDecay(half_life=5e-324), 0, 1, 50, 50) == pytest.approx([0, 0, 0.5, 0.5])
    assert one(TimeDecay(), 1e6, 1e6 + 7) == pytest.approx([1 / 3, 2 / 3])


def test_decay_counts_back_from_the_journeys_own_end():
    log = journeys_of([[0, 1], [0, 1]], [1, 1], time=[[0, 7], [1e7, 1e7 + 14]])
    assert TimeDecay().credit(log) == pytest.approx([1 / 3, 2 / 3, 1 / 5, 4 / 5])


@pytest.mark.parametrize("unit", ["s", "ns", "D"])
def test_times_of_numpy_count_as_days(unit):
    days = np.array(["2024-02-01", "2024-02-08", "2024-02-15"], dtype=f"datetime64[{unit}]")
    log = journeys_of([[0, 1, 2]], [1]).with_columns(time=days)
    assert TimeDecay().credit(log) == pytest.approx([1 / 7, 2 / 7, 4 / 7])
    assert TimeDecay().credit(log.with_columns(time=days - days[0])) == pytest.approx([1 / 7, 2 / 7, 4 / 7])


@pytest.mark.parametrize("rule", BY_PLACE + DATA_DRIVEN, ids=repr)
@LAW
@given(log=some_journeys())
def test_credits_of_a_converted_journey_sum_to_one_and_others_are_zero(rule, log):
    credit = rule.credit(log)
    assert credit.dtype == np.float64
    total = np.array([part.sum() for part in np.split(credit, log.offsets[1:-1])])
    converted = log.page_columns["converted"] > 0
    assert total[converted] == pytest.approx(1, abs=1e-9)
    assert (credit[~np.repeat(converted, log.lengths)] == 0).all()
    if not isinstance(rule, Shapley):  # the rate of a larger set may be lower
        assert (credit >= 0).all()


@pytest.mark.parametrize("rule", BY_PLACE + DATA_DRIVEN, ids=repr)
def test_a_single_touch_gets_all(rule):
    log = journeys_of([["a"], ["b"], ["a", "b"]], [1, 1, 0], time=[[0], [3], [1, 2]])
    assert rule.credit(log).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("rule", BY_PLACE + DATA_DRIVEN, ids=repr)
@LAW
@given(log=some_journeys(), order=st.randoms(use_true_random=False))
def test_the_order_of_the_journeys_and_the_names_of_the_channels_change_nothing(rule, log, order):
    pages = np.arange(len(log))
    order.shuffle(pages)
    shuffled = log.take(pages)
    named = shuffled.with_columns(item=np.array([f"channel {9 - item}" for item in shuffled.columns["item"]], dtype=object))
    expected = credits_of(rule, log)
    for page, got in zip(pages, credits_of(rule, named), strict=True):
        assert got == pytest.approx(expected[page], abs=1e-5 if isinstance(rule, Hazard) else 1e-9)


@pytest.mark.parametrize("rule", BY_PLACE + DATA_DRIVEN, ids=repr)
def test_a_count_means_as_many_journeys(rule):
    paths, times = [[0, 1, 0], [1, 2], [2]], [[0, 1, 2], [0, 5], [1]]
    grouped = journeys_of(paths, [2, 1, 0], [3, 2, 4], times)
    each = [0, 0, 0, 1, 1, 2, 2, 2, 2]
    listed = journeys_of([paths[i] for i in each], [1, 1, 0, 1, 0, 0, 0, 0, 0], time=[times[i] for i in each])
    got, expected = credits_of(rule, grouped), credits_of(rule, listed)
    assert np.concatenate(got) == pytest.approx(np.concatenate([expected[0], expected[3], expected[5]]), abs=1e-6)


@LAW
@given(log=some_journeys())
def test_reversed_time_swaps_first_and_last(log):
    back = np.concatenate([np.arange(a, b)[::-1] for a, b in zip(log.offsets[:-1], log.offsets[1:], strict=True)]).astype(int)
    turned = ultr.ClickLog(log.offsets, {"item": log.columns["item"][back]}, log.page_columns)
    assert (FirstTouch().credit(turned)[back] == LastTouch().credit(log)).all()
    for rule in (Linear(), Shapley(), UShaped()):
        assert rule.credit(turned)[back] == pytest.approx(rule.credit(log), abs=1e-9)


@LAW
@given(log=some_journeys())
def test_first_and_last_touches_are_among_those_of_linear(log):
    first, last, linear = (rule.credit(log) > 0 for rule in (FirstTouch(), LastTouch(), Linear()))
    assert not (first & ~linear).any()
    assert not (last & ~linear).any()
    assert first.sum() == last.sum() == (log.page_columns["converted"] > 0).sum()


@pytest.mark.parametrize("rule", BY_PLACE + DATA_DRIVEN, ids=repr)
def test_nothing_converted_and_no_journeys(rule):
    assert rule.credit(journeys_of([[0, 1], [], [2]], [0, 0, 0], time=[[0, 1], [], [0]])).tolist() == [0, 0, 0]
    assert rule.credit(journeys_of([], [], time=[])).shape == (0,)


def test_channel_credit_adds_up():
    log = journeys_of([["a", "b"], ["b"], ["c", "a", "a"]], [2, 1, 0], [3, 4, 5])
    table = channel_credit(log, {"linear": Linear(), "last": LastTouch()})
    assert table.columns.tolist() == ["channel", "rule", "conversions", "share"]
    assert table["rule"].tolist() == ["linear"] * 3 + ["last"] * 3
    assert table["channel"].tolist() == ["a", "b", "c"] * 2
    assert table["conversions"].tolist() == [1, 2, 0, 0, 3, 0]
    assert table["share"].tolist() == pytest.approx([1 / 3, 2 / 3, 0, 0, 1, 0])
    for rule, conversions in table.groupby("rule")["conversions"].sum().items():
        assert conversions == pytest.approx(3), rule


def test_channel_credit_of_an_amount():
    log = journeys_of([["a", "b"], ["b"], ["c"]], [1, 1, 0])
    log = ultr.ClickLog(log.offsets, log.columns, {**log.page_columns, "value": np.array([10.0, 2.5, 0.0])})
    table = channel_credit(log, {"linear": Linear()}, amount="value")
    assert table["value"].tolist() == [5.0, 7.5, 0.0]
    assert table["share"].tolist() == pytest.approx([0.4, 0.6, 0])
    bad = ultr.ClickLog(log.offsets, log.columns, {**log.page_columns, "value": np.array([10.0, 2.5, 3.0])})
    with pytest.raises(LogError, match=r"value must be 0 where nothing converted: journey 2 has 3.0; 1 of 3"):
        channel_credit(bad, {"linear": Linear()}, amount="value")
    with pytest.raises(LogError, match=r"channel_credit needs the page column 'valeu'.*Did you mean 'value'"):
        channel_credit(log, {"linear": Linear()}, amount="valeu")


def test_channel_credit_checks_its_rules():
    log = journeys_of([["a"]], [1])
    with pytest.raises(ConfigError, match="rules must be a mapping of names to rules"):
        channel_credit(log, [Linear()])

    class Wrong:
        def credit(self, journeys):
            return np.ones(3)

    with pytest.raises(ContractError, match="'wrong' must give one number a touch"):
        channel_credit(log, {"wrong": Wrong()})

    class Text:
        def credit(self, journeys):
            return ["all"]

    with pytest.raises(ContractError, match=r"'text' must give one number a touch, .* not text or other objects"):
        channel_credit(log, {"text": Text()})


def test_amounts_that_are_no_column_or_too_large_are_refused():
    log = journeys_of([["a"], ["a"], ["b"]], [1, 1, 1])
    log = ultr.ClickLog(log.offsets, log.columns, {**log.page_columns, "revenue": np.array([1e308, 1e308, 1.0])})
    with pytest.raises(ConfigError, match=r"amount must be the name of one page column, not \['revenue'\]"):
        channel_credit(log, {"linear": Linear()}, amount=["revenue"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for rule in (Linear(), MarkovRemoval()):
            with pytest.raises(LogError, match="revenue sums to inf, more than a number can hold"):
                channel_credit(log, {"rule": rule}, amount="revenue")


def test_errors_of_a_log_in_memory_name_no_shard():
    with pytest.raises(LogError, match=r"^converted must be 0 or 1"):
        channel_credit(journeys_of([["a"]], [2]), {"linear": Linear()})


def test_channels_come_from_items_and_from_tables():
    frame = pd.DataFrame({"page": [0, 0, 1], "item": ["mail", "ads", "mail"], "converted": [1, 1, 0]})
    log = ultr.ClickLog.from_frame(frame)
    assert channel_credit(log, {"last": LastTouch()})["channel"].tolist() == ["mail", "ads"]
    wide = ultr.ClickLog(log.offsets, {"item": np.array([10**15, -3, 10**15])}, log.page_columns)
    table = channel_credit(wide, {"last": LastTouch()})
    assert table["channel"].tolist() == [-3, 10**15]
    assert table["conversions"].tolist() == [1, 0]


@pytest.mark.parametrize("rule", [MarkovRemoval(), Shapley()], ids=repr)
def test_long_logs_are_read_in_blocks(rule, monkeypatch):
    rng = np.random.default_rng(0)
    paths = [rng.integers(0, 9, rng.integers(0, 12)).tolist() for _ in range(60)]
    log = journeys_of(paths, [int(len(path) % 2 == 1) for path in paths])
    expected = rule.credit(log)
    for block in (1, 2, 30):
        monkeypatch.setattr("ultr.attribution.journeys.BLOCK", block)
        assert rule.credit(log) == pytest.approx(expected, abs=1e-12)


def test_rules_are_values():
    assert UShaped() == UShaped(first=0.4, last=0.4)
    assert repr(TimeDecay()) == "TimeDecay(half_life=7.0)"
    assert Shapley() == Shapley(value=None)
    assert MarkovRemoval() == MarkovRemoval(order=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TimeDecay(half_life=0), r"TimeDecay: half_life must be a number of days in \(0, inf\], not 0"),
        (lambda: TimeDecay(half_life="7"), "not '7'"),
        (lambda: UShaped(first=-0.1), r"UShaped: first must be a share in \[0, 1\], not -0.1"),
        (lambda: UShaped(last=1.5), "UShaped: last must be a share"),
        (lambda: UShaped(first=0.6, last=0.6), r"first \+ last must be at most 1, not 0.6 \+ 0.6"),
    ],
)
def test_impossible_settings(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.parametrize(
    ("log", "message"),
    [
        (journeys_of([[0], [1]], [1, 2]), r"converted must be 0 or 1 \(0..count on a page with a count\): journey 1 has 2; 1 of 2"),
        (journeys_of([[0], [1]], [1, 4], [1, 3]), "journey 1 has 4"),
        (journeys_of([[0], [1]], [1, 0.5]), "journey 1 has 0.5"),
        (journeys_of([[0], [1]], [np.nan, 0]), "journey 0 has nan"),
        (journeys_of([[0], [1]], [1, -1]), "journey 1 has -1"),
        (journeys_of([[0], [1]], ["yes", "no"]), "converted must be a number"),
        (journeys_of([[0], [1]], [0, 0], [1, 0]), "count must be a whole number, 1 or more: journey 1 has 0"),
        (journeys_of([[0], []], [1, 1]), r"converted without any touch has nobody to credit: journey 1; 1 of 2 is wrong.*select"),
        (journeys_of([[0], [1, 1]], [1, 1], time=[[5], [2, 1]]), "time must never fall within a journey: page 1, row 1 has 1.0"),
        (journeys_of([[0], [1, 1]], [1, 1], time=[[np.nan], [2, 1]]), "time must be a finite number of days: page 0, row 0 has nan"),
        (journeys_of([[0], [1]], [1, 1], time=[[0], [np.inf]]), "page 1, row 0 has inf"),
    ],
)
@pytest.mark.parametrize("rule", [FirstTouch(), Linear()], ids=repr)
def test_bad_journeys(rule, log, message):
    with pytest.raises(LogError, match=message):
        rule.credit(log)


@pytest.mark.parametrize("time", [[1.7e9, 1.7e9 + 50], [0, 86_400], [1.7e12, 1.7e12]], ids=["unix", "a day of seconds", "milliseconds"])
def test_days_that_look_like_seconds_are_told(time):
    log = journeys_of([[0], [], [1, 2]], [0, 0, 1], time=[[3], [], time])
    with pytest.warns(UltrWarning, match=r"time looks like seconds, but must be in days: journey 2 ends at .*; 1 of 3 are as odd. Divide"):
        TimeDecay().credit(log)


@pytest.mark.parametrize(
    "time",
    [
        np.array([0, 36_000]),
        np.array([2_400_000, 2_430_000]),
        np.array(["1900-01-01", "2026-01-01"], "M8[s]"),
        np.array([0, 10**10], "m8[s]"),
    ],
    ids=["a life", "Julian days", "dates", "durations"],
)
def test_days_that_are_days_are_not(time):
    log = journeys_of([[0, 1]], [1], time=[[0, 1]]).with_columns(time=time)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        TimeDecay(half_life=1e5).credit(log)


def test_dates_as_text_are_told_how_to_become_times():
    log = journeys_of([[0, 1]], [1]).with_columns(time=np.array(["2024-01-01 04:13", "2024-01-08 04:13"], dtype=object))
    with pytest.raises(LogError, match=r"time must be a number: page 0, row 0 has '2024-01-01 04:13'; 2 of 2 .*time=pd.to_datetime\("):
        TimeDecay().credit(log)
    log = log.with_columns(time=pd.to_datetime(log.columns["time"]))  # as the message says
    assert TimeDecay(half_life=7).credit(log) == pytest.approx([1 / 3, 2 / 3])


def test_missing_columns():
    log = journeys_of([[0]], [1])
    with pytest.raises(LogError, match=r"TimeDecay needs the column 'time'.*in days: journeys.with_columns\(time=...\)"):
        TimeDecay().credit(log)
    with pytest.raises(LogError, match="Linear needs the page column 'converted'"):
        Linear().credit(ultr.ClickLog(log.offsets, log.columns))
    missing = log.with_columns(item=np.array([None], dtype=object))
    with pytest.raises(LogError, match="channel of a touch must not be missing: page 0, row 0"):
        MarkovRemoval().credit(missing)
    with pytest.raises(LogError, match="row number of the log's 1 items: 5 is none"):
        MarkovRemoval().credit(ultr.ClickLog(log.offsets, {"item": np.array([5])}, log.page_columns, ultr.Items(ids=np.array(["a"]))))


def test_a_time_that_falls_between_journeys_is_none_of_their_business():
    log = journeys_of([[0, 1], [], [1, 1]], [1, 0, 1], time=[[5, 9], [], [1, 2]])
    assert FirstTouch().credit(log).tolist() == [1, 0, 1, 0]


@dataclass(frozen=True)
class Middle(AttributionRule):
    factor: float = 1.0

    def shares(self, journeys):
        return journeys.normalised(1.0 + np.minimum(journeys.log.slots(), 1)) * self.factor


def test_a_rule_of_ones_own_is_one_method():
    log = journeys_of([[0, 1, 1], [], [0]], [1, 0, 0])
    assert Middle().credit(log) == pytest.approx([0.2, 0.4, 0.4, 0])
    assert channel_credit(log, {"mine": Middle()})["conversions"].tolist() == pytest.approx([0.2, 0.8])


def test_a_rule_of_ones_own_is_checked():
    log = journeys_of([[0], [0, 1, 1]], [0, 1])
    with pytest.raises(ContractError, match=r"Middle.shares must sum to 1 in every journey that converted: journey 1 has 0.9; 1 of 1"):
        Middle(factor=0.9).credit(log)
    with pytest.raises(ContractError, match="journey 1 has nan"):
        Middle(factor=np.nan).credit(log)

    class Short(AttributionRule):
        def shares(self, journeys):
            return np.ones(2)

    with pytest.raises(ContractError, match=r"Short.shares must return one share a touch, shape \(4,\), not \(2,\)"):
        Short().credit(log)

    for returned in ("all", ["a"] * 4, None, np.full(4, 1j)):

        class Odd(AttributionRule):
            def shares(self, journeys, returned=returned):
                return returned

        with pytest.raises(ContractError, match=r"Odd.shares must return one share a touch, shape \(4,\), not "):
            Odd().credit(log)


def test_what_is_returned_for_other_journeys_is_not_read():
    class Careless(AttributionRule):
        def shares(self, journeys):
            return np.where(journeys.per_touch(journeys.converted) > 0, 1.0, np.nan)

    assert Careless().credit(journeys_of([[0], [1, 2]], [1, 0])).tolist() == [1, 0, 0]


def test_a_table_of_no_rules_is_refused():
    log = journeys_of([[0], [0, 1, 1]], [0, 1])
    for rules, message in (({"a": Linear}, "'a' is no rule, such as"), ({}, "give at least one rule")):
        with pytest.raises(ConfigError, match=message):
            channel_credit(log, rules)
    with pytest.raises(LogError, match="DataFrame"):
        Linear().credit(log.to_frame())


class _Places(LastTouch):
    """A rule that looks at one journey at a time but does not say so."""

    alone = False


@pytest.mark.parametrize("engine", [None, Serial(), Processes(2)], ids=["none", "serial", "processes"])
def test_channel_credit_of_a_log_on_disk_is_that_of_memory(engine, tmp_path):
    rng = generator(4)
    lengths = rng.integers(1, 6, 400)
    times = np.concatenate([np.sort(rng.uniform(0, 9, n)) for n in lengths])
    log = ClickLog(
        np.append(0, np.cumsum(lengths)), {"item": rng.integers(0, 9, lengths.sum()), "time": times}, {"converted": rng.integers(0, 2, 400)}
    )
    log.write_parquet(tmp_path / "log")
    rules = {"first": FirstTouch(), "decay": TimeDecay(2), "markov": MarkovRemoval(), "places": _Places()}
    expected = channel_credit(log, rules)
    for source in (Chunked(log, 7), ParquetLog.open(tmp_path / "log")):
        table = channel_credit(source, rules, engine=engine)
        pd.testing.assert_frame_equal(table, expected, rtol=1e-12)
    assert expected.groupby("rule")["conversions"].sum().to_numpy() == pytest.approx(log.page_columns["converted"].sum())


def test_engines_credit_alike_to_the_last_bit():
    rng = generator(5)
    log = Chunked(ClickLog(np.arange(0, 1203, 3), {"item": rng.integers(0, 9, 1200)}, {"converted": rng.integers(0, 2, 401)[:400]}), 13)
    tables = [channel_credit(log, {"linear": Linear(), "u": UShaped()}, engine=engine) for engine in (Serial(), Processes(2))]
    assert np.array_equal(tables[0]["conversions"], tables[1]["conversions"])
