"""A world of multi-touch journeys: clicks build up an intent to convert, conversions come late, and the truth of every touch is known."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from simulators.exposure_world import sigmoid
from simulators.journey_truth import EXACT, converts, true_credit
from ultr.attribution.first_touch import FirstTouch
from ultr.attribution.last_touch import LastTouch
from ultr.attribution.linear import Linear
from ultr.attribution.markov_removal import MarkovRemoval
from ultr.attribution.time_decay import TimeDecay
from ultr.attribution.u_shaped import UShaped
from ultr.data.checks import within
from ultr.data.items import Items
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.errors import ConfigError, LogError
from ultr.random import generator

Rows = Literal["clicks", "impressions"]

BLOCK = 65_536  # users that share a generator
_RULES = {
    "first": FirstTouch(),
    "last": LastTouch(),
    "linear": Linear(),
    "time_decay": TimeDecay(),
    "u_shaped": UShaped(),
    "markov": MarkovRemoval(),
}


@dataclass(frozen=True)
class Journeys:
    """Users click on ads; each click may decide them to convert, the likelier the better the ad closes and the more earlier ones built up.

    At a click j of a user who has not decided since the last conversion,

        P(decides) = sigmoid(base + g + k z + close(ad_j) + carry sum over earlier clicks i of exp(-decay (t_j - t_i)) assist(ad_i)),

    with g the effect of the user's segment, z a hidden intent, and close, assist of each ad normal with a given correlation. The conversion
    follows after an exponential delay; clicks until then belong to its journey and decide nothing. Then the intent starts anew.

    Args:
        n_users: At least 1.
        seed: Which world: ads, segments, and the segment and intent of every user. Logs of one seed share their chances in all worlds.
        n_ads: Ads, clicked with weights rank^-.5, at least 1; each belongs to one of the channels.
        n_channels: At least 1 and at most n_ads.
        n_segments: At least 1.
        clicks_per_user: Mean number of clicks (Poisson) in the time of the world, above 0.
        click_rate: Share of impressions that are clicked, in (0, 1]; the others matter to nothing.
        base: Logit of a decision.
        carry: How far earlier clicks help, at least 0.
        correlation: Of close and assist of an ad, in [-1, 1]: what labels of other rules can tell about the last touch.
        decay: Per day, at least 0.
        effects: Standard deviation of close and of assist, at least 0.
        segment_effect: Standard deviation of g, at least 0.
        intent: k, at least 0; z is standard normal and in no column.
        days: Length of the time, above 0; what converts after it is not seen.
        mean_delay: Mean delay of a conversion, in days, at least 0.
        window: Look-back window in days before the conversion, above 0: earlier clicks get no credit, and a conversion without a click in
            it is nobody's; None takes all.

    Raises:
        ConfigError: a setting is out of range.

    Source:
        Own design, after the carry-over of advertising stock models; discrete-time hazard.
    """

    n_users: int
    seed: int = 0
    _: KW_ONLY
    n_ads: int = 400
    n_channels: int = 8
    n_segments: int = 10
    clicks_per_user: float = 7.0
    click_rate: float = 0.1
    base: float = -3.6
    carry: float = 1.0
    correlation: float = 1.0
    decay: float = 0.05
    effects: float = 1.0
    segment_effect: float = 0.5
    intent: float = 0.0
    days: float = 30.0
    mean_delay: float = 1.0
    window: float | None = None

    def __post_init__(self) -> None:
        for name in ("n_users", "n_ads", "n_channels", "n_segments"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise ConfigError(f"Journeys: {name} must be a whole number of at least 1, not {value!r}.")
        if self.n_channels > self.n_ads:
            raise ConfigError(f"Journeys: {self.n_channels} channels need as many ads, not {self.n_ads}.")
        intervals = {
            "(0, inf)": ("clicks_per_user", "days", *(["window"] if self.window is not None else [])),
            "[0, inf)": ("carry", "decay", "effects", "segment_effect", "intent", "mean_delay"),
            "(0, 1]": ("click_rate",),
            "[-1, 1]": ("correlation",),
            "(-inf, inf)": ("base",),
        }
        for interval, names in intervals.items():
            for name in names:
                if not within(getattr(self, name), interval):
                    raise ConfigError(f"Journeys: {name} must be in {interval}, not {getattr(self, name)!r}.")
        generator(self.seed)

    def log(self, seed: int = 0, rows: Rows = "clicks") -> ClickLog:
        """Draw the clicks and conversions of all users, once.

        Args:
            seed: Which draw.
            rows: "clicks" lists clicks alone; "impressions" also what was shown and not clicked, which no credit rule should be given.

        Returns:
            A page a journey, in the order of users and time: it ends with a conversion, or with the time of the world. Clicks before the
            window are a page of their own, not converted. Page columns user, segment, converted (0 or 1) and conversion_time (days, NaN
            where there is none). Row columns item (the channel), ad, time (days), click, decision (P(decides) at a click that could
            decide, else 0), inherited (what clicks before the window add to its logit), and the credits first, last, linear, time_decay
            (half-life 7 days), u_shaped and markov of `ultr.attribution`; counterfactual, the share of the conversion probability lost
            without the touch; and shapley, its exact Shapley value over P(convert) (sampled above 12 touches), in both cases given the
            clicks before the window. Credits of a converted journey sum to 1 among its clicks, all others
            are 0.
        """
        if rows not in get_args(Rows):
            raise ConfigError(f"rows must be one of {', '.join(get_args(Rows))}, not {rows!r}.")
        parts = [self._drawn(np.arange(start, min(start + BLOCK, self.n_users)), seed) for start in range(0, self.n_users, BLOCK)]
        clicks = self._with_credit(ClickLog.concat(parts), seed)
        if rows == "clicks" or self.click_rate == 1:
            return clicks
        return self._with_unclicked(clicks, seed)

    def conversion_probability(self, journeys: ClickLog) -> np.ndarray:
        """Return P(a decision at one of the clicks) of each journey of this world's log of clicks, float64, shape [P]."""
        return np.array([converts(base, pull)[-1] for base, pull in self._parts(journeys)])

    def subset_values(self, journeys: ClickLog, page: int) -> np.ndarray:
        """Return P(a decision) if only some touches of a journey had happened, for all of them, float64, shape [2^L].

        Entry m is for the touches whose bits are set in m; touch j has bit 1 << j.

        Raises:
            LogError: the journey has more than 12 touches.
        """
        if not 0 <= page < len(journeys):
            raise LogError(f"There is no journey {page}: the log has 0 to {len(journeys) - 1}.")
        if journeys.lengths[page] > EXACT:
            raise LogError(f"Journey {page} has {journeys.lengths[page]} touches: its subsets are too many to list; at most {EXACT}.")
        (part,) = self._parts(journeys.take(np.array([page])))
        return converts(*part)

    # Drawing

    def _drawn(self, users: np.ndarray, seed: int) -> ClickLog:
        """Draw the journeys of a block of users, without credits."""
        rng = generator(seed, "journeys", int(users[0]) // BLOCK)
        own = self._users(users)
        n = rng.poisson(self.clicks_per_user, len(users))
        width = int(n.max(initial=0))
        present = np.arange(width) < n[:, None]
        time = np.sort(np.where(present, rng.uniform(0, self.days, (len(users), width)), np.inf), axis=1)
        ad = rng.choice(self.n_ads, size=(len(users), width), p=self._ads.weight)
        luck, delay = rng.random((len(users), width)), rng.exponential(size=(len(users), width)) * self.mean_delay
        journey, decision, stock, converts_at = self._decide(own.level, present, time, ad, luck, delay)
        return self._as_log(users, own.segment, present, time, ad, journey, decision, stock, converts_at)

    def _decide(
        self, level: np.ndarray, present: np.ndarray, time: np.ndarray, ad: np.ndarray, luck: np.ndarray, delay: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Go through the clicks of all users side by side.

        Returns:
            The number of each click's journey, P(decides), and what earlier clicks have built up, each of the shape of `ad`; and the time
            of the conversion of each journey by its number, infinite where there is none.
        """
        n_users, width = ad.shape
        journey, decision, built_up = np.zeros(ad.shape, dtype=np.int64), np.zeros(ad.shape), np.zeros(ad.shape)
        ends = np.full((n_users, width + 1), np.inf)  # of journey number k
        stock, last, pending, number = np.zeros(n_users), np.zeros(n_users), np.full(n_users, np.inf), np.zeros(n_users, dtype=np.int64)
        for j in range(width):
            here = present[:, j]
            now = np.where(here, time[:, j], last)
            over = here & (pending < now)
            number[over] += 1
            stock[over], pending[over] = 0.0, np.inf
            stock *= np.exp(-self.decay * (now - last))
            chance = sigmoid(level + self._ads.close[ad[:, j]] + self.carry * stock)
            open_ = here & np.isinf(pending)
            decision[:, j], built_up[:, j] = np.where(open_, chance, 0.0), stock
            decided = open_ & (luck[:, j] < chance)
            pending[decided] = now[decided] + delay[decided, j]
            ends[np.flatnonzero(decided), number[decided]] = pending[decided]
            journey[:, j] = number
            stock += np.where(here, self._ads.assist[ad[:, j]], 0.0)
            last = now
        return journey, decision, built_up, ends

    def _as_log(
        self,
        users: np.ndarray,
        segment: np.ndarray,
        present: np.ndarray,
        time: np.ndarray,
        ad: np.ndarray,
        journey: np.ndarray,
        decision: np.ndarray,
        built_up: np.ndarray,
        ends: np.ndarray,
    ) -> ClickLog:
        """Make a page of every journey; clicks before the window are a page of their own."""
        row, column = np.nonzero(present)
        end = ends[row, journey[row, column]]
        end = np.where(end <= self.days, end, np.inf)  # what converts later is not seen
        when = time[row, column]
        early = (end - when > self.window) & np.isfinite(end) if self.window is not None else np.zeros(len(row), dtype=bool)
        new = np.ones(len(row), dtype=bool)
        new[1:] = (row[1:] != row[:-1]) | (journey[row, column][1:] != journey[row, column][:-1]) | (early[1:] != early[:-1])
        first = np.flatnonzero(new)
        converted = np.isfinite(end[first]) & ~early[first]
        page = np.cumsum(new) - 1
        age = when - when[first][page]
        inherited = self.carry * built_up[row, column][first][page] * np.exp(-self.decay * age)
        columns: dict[str, np.ndarray] = {
            "item": self._ads.channel[ad[row, column]].astype(np.int32),
            "ad": ad[row, column].astype(np.int32),
            "time": when,
            "click": np.ones(len(row), dtype=np.int8),
            "decision": decision[row, column],
            "inherited": inherited,
        }
        pages = {
            "user": users[row[first]],
            "segment": segment[row[first]],
            "converted": converted.astype(np.int8),
            "conversion_time": np.where(converted, end[first], np.nan),
        }
        return ClickLog(np.append(first, len(row)), columns, pages, self._catalogue)

    def _with_credit(self, log: ClickLog, seed: int) -> ClickLog:
        credits = {name: rule.credit(log) for name, rule in _RULES.items()}
        counterfactual, shapley = np.zeros(log.n_rows), np.zeros(log.n_rows)
        pages = np.flatnonzero(log.page_columns["converted"] > 0)
        rng = generator(seed, "shapley")
        for page, (base, pull) in zip(pages, self._parts(log.take(pages)), strict=True):
            rows = slice(log.offsets[page], log.offsets[page + 1])
            lost, share = true_credit(base, pull, rng)
            counterfactual[rows], shapley[rows] = lost, share
        return log.with_columns(**credits, counterfactual=counterfactual, shapley=shapley)

    def _parts(self, log: ClickLog) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each journey: the logit of each touch without others [L], and what touch i adds to that of touch j, [L, L]."""
        known = (log.page_column("user", "Journeys") < self.n_users).all() and (log.column("ad", "Journeys") < self.n_ads).all()
        if not known or not (log.column("click", "Journeys") > 0).all():
            raise LogError("The truth is known for logs of clicks of this world alone: world.log(rows='clicks').")
        level = self._users(log.page_columns["user"]).level
        out = []
        for page in range(len(log)):
            rows = slice(log.offsets[page], log.offsets[page + 1])
            ad, time, inherited = (log.columns[name][rows] for name in ("ad", "time", "inherited"))
            age = np.subtract.outer(time, time).T  # of touch i at touch j
            pull = np.triu(np.exp(-self.decay * np.maximum(age, 0)), 1) * self._ads.assist[ad][:, None] * self.carry
            out.append((level[page] + inherited + self._ads.close[ad], pull))
        return out

    def _with_unclicked(self, log: ClickLog, seed: int) -> ClickLog:
        """Add what was shown and not clicked, at times between the clicks of a journey and just before them."""
        rng = generator(seed, "impressions")
        extra = rng.negative_binomial(1, self.click_rate, log.n_rows)  # failures before each click
        source = np.repeat(np.arange(log.n_rows), extra + 1)
        clicked = np.zeros(len(source), dtype=bool)
        clicked[np.cumsum(extra + 1) - 1] = True
        columns = {name: np.where(clicked, values[source], np.zeros(1, dtype=values.dtype)) for name, values in log.columns.items()}
        ad = np.where(clicked, log.columns["ad"][source], rng.choice(self.n_ads, size=len(source), p=self._ads.weight))
        before, user = np.concatenate([[0.0], log.columns["time"][:-1]]), log.page_columns["user"][log.page_of_row()]
        before[np.concatenate([[True], user[1:] != user[:-1]])] = 0.0
        drawn = before[source] + rng.random(len(source)) * (log.columns["time"] - before)[source]
        time = np.where(clicked, log.columns["time"][source], drawn)
        columns |= {"ad": ad.astype(np.int32), "item": self._ads.channel[ad].astype(np.int32), "time": time}
        lengths = np.bincount(log.page_of_row()[source], minlength=len(log))
        order = np.lexsort((time, log.page_of_row()[source]))
        return ClickLog(offsets_of(lengths), {name: values[order] for name, values in columns.items()}, log.page_columns, log.items)

    # The world

    def _users(self, users: np.ndarray) -> _Users:
        return _Users(self._everyone.level[users], self._everyone.segment[users])

    @cached_property
    def _everyone(self) -> _Users:
        rng = generator(self.seed, "users")
        segment = rng.integers(self.n_segments, size=self.n_users)
        effect = generator(self.seed, "segments").normal(scale=self.segment_effect, size=self.n_segments)
        return _Users(self.base + effect[segment] + self.intent * rng.normal(size=self.n_users), segment)

    @cached_property
    def _ads(self) -> _Ads:
        rng = generator(self.seed, "ads")
        close, other = rng.normal(size=(2, self.n_ads))
        assist = self.correlation * close + np.sqrt(1 - self.correlation**2) * other
        weight = np.arange(1, self.n_ads + 1) ** -0.5
        channel = rng.permutation(self.n_ads) % self.n_channels
        return _Ads(self.effects * close, self.effects * assist, channel, weight / weight.sum())

    @cached_property
    def _catalogue(self) -> Items:
        return Items(ids=np.arange(self.n_channels))


@dataclass(frozen=True, eq=False)
class _Users:
    level: np.ndarray
    segment: np.ndarray


@dataclass(frozen=True, eq=False)
class _Ads:
    close: np.ndarray
    assist: np.ndarray
    channel: np.ndarray
    weight: np.ndarray
