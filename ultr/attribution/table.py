"""What every channel gets by every rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ultr.attribution.journeys import read_journeys
from ultr.attribution.rule import AttributionRule
from ultr.data.checks import as_numbers, refuse
from ultr.data.log import ClickLog
from ultr.errors import ConfigError, ContractError

if TYPE_CHECKING:
    import pandas as pd


def channel_credit(journeys: ClickLog, rules: Mapping[str, AttributionRule], amount: str = "converted") -> pd.DataFrame:
    """Add up the credit of every channel by every rule.

    Args:
        journeys: Journeys as a rule takes them (`AttributionRule.credit`).
        rules: Names and rules, e.g. {"last": LastTouch(), "markov": MarkovRemoval()}.
        amount: The page column that is divided among the touches: conversions, or what they were worth in all (revenue), 0 where nothing
            converted.

    Returns:
        One line a rule and channel, rule by rule, channels in the order of their ids: `channel`, `rule`, the amount credited
        (`conversions`, or the name of the column) and its `share` of the rule's total. By every rule the amounts sum to that of the log;
        shares are NaN where that is 0. `table.pivot(index="channel", columns="rule", values="share")` puts rules side by side.

    Raises:
        LogError: the journeys are malformed, or an amount is missing, not finite, or not 0 where nothing converted.
        ConfigError: `rules` is no mapping of names to rules, or empty, or `amount` has the name of another column of the table.
        ContractError: a rule gives no number for some touches.
    """
    import pandas as pd

    if not isinstance(rules, Mapping):
        raise ConfigError(f"channel_credit: rules must be a mapping of names to rules, e.g. {{'last': LastTouch()}}, not {rules!r}.")
    wrong = [name for name, rule in rules.items() if isinstance(rule, type) or not callable(getattr(rule, "credit", None))]
    if wrong or not rules:
        raise ConfigError(
            f"channel_credit: {wrong[0]!r} is no rule, such as Linear()." if wrong else "channel_credit: give at least one rule."
        )
    if amount in ("channel", "rule", "share"):
        raise ConfigError(f"channel_credit: {amount!r} is a column of the table: call the amount something else.")
    paths = read_journeys(journeys, by="channel_credit")
    amounts = as_numbers(amount, journeys.page_column(amount, by="channel_credit"), "journey {}".format)
    refuse(~np.isfinite(amounts), f"{amount} must be finite", "Fill it.", "journey {}".format, amounts)
    stray = (amounts != 0) & (paths.converted == 0)
    refuse(stray, f"{amount} must be 0 where nothing converted", "No touch gets it.", "journey {}".format, amounts)
    name, tables = "conversions" if amount == "converted" else amount, []
    for rule_name, rule in rules.items():
        credit = np.asarray(rule.credit(journeys))
        if credit.shape != (journeys.n_rows,):
            raise ContractError(f"The rule {rule_name!r} must give one number a touch, shape ({journeys.n_rows},), not {credit.shape}.")
        credited = np.bincount(paths.channel, credit * paths.per_touch(amounts), len(paths.channels))
        total = credited.sum()
        share = credited / total if total else np.full(len(credited), np.nan)
        tables.append(pd.DataFrame({"channel": paths.channels, "rule": rule_name, name: credited, "share": share}))
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=["channel", "rule", name, "share"])
