"""What every channel gets by every rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ultr.attribution.journeys import read_journeys
from ultr.attribution.rule import AttributionRule
from ultr.data.checks import as_numbers, real_numbers, refuse
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, gather, need_source, projected
from ultr.engine.base import Engine, need_engine
from ultr.engine.serial import Serial
from ultr.errors import ConfigError, ContractError, LogError

if TYPE_CHECKING:
    import pandas as pd


def channel_credit(
    journeys: LogSource, rules: Mapping[str, AttributionRule], amount: str = "converted", engine: Engine | None = None
) -> pd.DataFrame:
    """Add up the credit of every channel by every rule.

    A log on disk is credited piece by piece where a rule looks at one journey at a time (first and last touch, linear, time decay,
    U-shaped); for the others, which are fitted on all journeys, the columns that they read are loaded.

    Args:
        journeys: Journeys as a rule takes them (`AttributionRule.credit`), in memory or on disk.
        rules: Names and rules, e.g. {"last": LastTouch(), "markov": MarkovRemoval()}.
        amount: The page column that is divided among the touches: conversions, or what they were worth in all (revenue), 0 where nothing
            converted.
        engine: Where the pieces of a log on disk are credited; this process when None. Every engine gives the same bits.

    Returns:
        One line a rule and channel, rule by rule, channels in the order of their ids: `channel`, `rule`, the amount credited
        (`conversions`, or the name of the column) and its `share` of the rule's total. By every rule the amounts sum to that of the log;
        shares are NaN where that is 0. `table.pivot(index="channel", columns="rule", values="share")` puts rules side by side.

    Raises:
        LogError: the journeys are malformed, an amount is missing, not finite, or not 0 where nothing converted, or the sum is infinite.
        ConfigError: `rules` is no mapping of names to rules, or empty, or `amount` is no name, or that of another column of the table.
        ContractError: a rule gives no number for some touches.
    """
    import pandas as pd

    _check(rules, amount)
    engine = need_engine(engine) or Serial()
    alone = {name: rule for name, rule in rules.items() if getattr(rule, "alone", False)}
    fitted = {name: rule for name, rule in rules.items() if name not in alone}
    credited: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if alone:
        fold = partial(_credited, alone, amount)  # a log in memory is one piece
        found = fold(journeys) if isinstance(journeys, ClickLog) and len(journeys) else engine.run(fold, need_source(journeys))
        credited |= {name: (found.channels, found.amounts[i]) for i, name in enumerate(alone)}
    if fitted:
        found = _credited(fitted, amount, gather(projected(journeys, ("item", "time", "count", "converted", amount))))
        credited |= {name: (found.channels, found.amounts[i]) for i, name in enumerate(fitted)}
    column, tables = "conversions" if amount == "converted" else amount, []
    for name in rules:
        channels, amounts = credited[name]
        with np.errstate(over="ignore"):
            total = amounts.sum()
        if not np.isfinite(total):
            raise LogError(f"channel_credit: {amount} sums to {total}, more than a number can hold. Give it in a larger unit.")
        share = amounts / total if total else np.full(len(amounts), np.nan)
        tables.append(pd.DataFrame({"channel": channels, "rule": name, column: amounts, "share": share}))
    return pd.concat(tables, ignore_index=True)


def _check(rules: Mapping[str, AttributionRule], amount: str) -> None:
    if not isinstance(rules, Mapping):
        raise ConfigError(f"channel_credit: rules must be a mapping of names to rules, e.g. {{'last': LastTouch()}}, not {rules!r}.")
    wrong = [name for name, rule in rules.items() if isinstance(rule, type) or not callable(getattr(rule, "credit", None))]
    if wrong or not rules:
        raise ConfigError(
            f"channel_credit: {wrong[0]!r} is no rule, such as Linear()." if wrong else "channel_credit: give at least one rule."
        )
    if not isinstance(amount, str):
        raise ConfigError(f"channel_credit: amount must be the name of one page column, not {amount!r}.")
    if amount in ("channel", "rule", "share"):
        raise ConfigError(f"channel_credit: {amount!r} is a column of the table: call the amount something else.")


@dataclass(frozen=True, eq=False)
class _Credited:
    """Amounts credited to the channels of a piece of a log.

    Args:
        channels: Their ids, rising, shape [K].
        amounts: By rule and channel, shape [R, K].
    """

    channels: np.ndarray
    amounts: np.ndarray

    def __add__(self, other: _Credited) -> _Credited:
        channels = np.unique(np.concatenate([self.channels, other.channels]))
        amounts = np.zeros((len(self.amounts), len(channels)))
        for part in (self, other):
            amounts[:, np.searchsorted(channels, part.channels)] += part.amounts
        return _Credited(channels, amounts)


def _credited(rules: Mapping[str, AttributionRule], amount: str, journeys: ClickLog) -> _Credited:
    """Credit the journeys of a piece of a log."""
    paths = read_journeys(journeys, by="channel_credit")
    amounts = as_numbers(amount, journeys.page_column(amount, by="channel_credit"), "journey {}".format)
    refuse(~np.isfinite(amounts), f"{amount} must be finite", "Fill it.", "journey {}".format, amounts)
    stray = (amounts != 0) & (paths.converted == 0)
    refuse(stray, f"{amount} must be 0 where nothing converted", "No touch gets it.", "journey {}".format, amounts)
    out = np.zeros((len(rules), len(paths.channels)))
    for i, (name, rule) in enumerate(rules.items()):
        credit = real_numbers(rule.credit(journeys))
        if credit is None or credit.shape != (journeys.n_rows,):
            found = "text or other objects" if credit is None else credit.shape
            raise ContractError(f"The rule {name!r} must give one number a touch, shape ({journeys.n_rows},), not {found}.")
        out[i] = np.bincount(paths.channel, credit * paths.per_touch(amounts), len(paths.channels))
    return _Credited(paths.channels, out)
