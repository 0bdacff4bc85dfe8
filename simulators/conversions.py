"""A world of impressions in which conversions are seen only after clicks, and clicks are no random sample."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from math import gamma

import numpy as np

from simulators.exposure_world import sigmoid
from ultr.data.checks import within
from ultr.data.fields import Category, Fields
from ultr.data.log import ClickLog
from ultr.errors import ConfigError
from ultr.random import generator

BLOCK = 65_536  # impressions that share a generator: what is drawn of a block does not depend on the others
_X = np.linspace(-2.0, 2.0, 41)
_P = np.exp(-(_X**2) / 2) / np.exp(-(_X**2) / 2).sum()
_LEVELS = {"click": -2.0, "conversion": -1.5}


@dataclass(frozen=True)
class Conversions:
    """Impressions with P(click) and P(conversion | click) that both depend on x, known for every impression.

    With x on 41 points from -2 to 2, weighted by a normal density; a hidden u = +-1; effects a, b of user and ad; and q positions,

        logit c = -2 + s x + k u + a,    P(click) = sigmoid(c) (1 + position)^-eta,
        logit r = -1.5 + i x^2 - .8 x + k u + b,    P(conversion | click) = sigmoid(r),

    where s = selection, i = interaction, k = confounding, eta = position_bias. x^2 is what a linear tower cannot express: clicks are
    frequent where x is high and rare elsewhere, so its fit on clicks is another than the fit over all impressions. u is in no column.

    Args:
        n_impressions: N, at least 1.
        interaction: i, any number.
        confounding: k, at least 0; what no model of the fields can undo.
        selection: s, any number; with 0 clicks do not depend on x.
        seed: Which world.
        click_rate: Mean of P(click), in (0, 1), which then sets the level of c (up to the error of 65,536 draws); None leaves -2.
        conversion_rate: Mean of P(conversion | click) over all impressions, in (0, 1), likewise.
        n_users: Users, drawn with weights 1 / rank; 0 has no users. They have a column `user`.
        n_ads: Ads, likewise, column `ad`.
        effects: Standard deviation of a and of b, of users and of ads each, at least 0.
        correlation: Of a and b of one user or ad, in [-1, 1].
        positions: q, at least 1; drawn uniformly. More than one makes a field `position`.
        position_bias: eta, at least 0.
        mean_delay: Mean delay of a conversion after its click, in days, above 0; None has no delay.
        delay_shape: Shape of the delay's Weibull distribution, above 0; 1 is exponential.
        observed_until: Time of observation, in days, above 0: clicks are uniform in time from 0 to it, and `conversion` lacks what converts
            later.

    Raises:
        ConfigError: a setting is out of range; when used, that a rate cannot be reached.

    Source:
        Own design; the delay after Chapelle (2014), "Modeling delayed feedback in display advertising", KDD. doi:10.1145/2623330.2623634
    """

    n_impressions: int
    interaction: float = 0.0
    confounding: float = 0.0
    selection: float = 1.0
    seed: int = 0
    _: KW_ONLY
    click_rate: float | None = None
    conversion_rate: float | None = None
    n_users: int = 0
    n_ads: int = 0
    effects: float = 0.7
    correlation: float = 0.8
    positions: int = 1
    position_bias: float = 1.0
    mean_delay: float | None = None
    delay_shape: float = 1.0
    observed_until: float = 30.0

    def __post_init__(self) -> None:
        for name, least in (("n_impressions", 1), ("n_users", 0), ("n_ads", 0), ("positions", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
                raise ConfigError(f"Conversions: {name} must be a whole number of at least {least}, not {value!r}.")
        ranges = {
            "(-inf, inf)": ("interaction", "selection"),
            "[0, inf)": ("confounding", "effects", "position_bias"),
            "(0, 1)": ("click_rate", "conversion_rate"),
            "[-1, 1]": ("correlation",),
            "(0, inf)": ("mean_delay", "delay_shape", "observed_until"),
        }
        for interval, names in ranges.items():
            for name in names:
                value = getattr(self, name)
                optional = name in ("click_rate", "conversion_rate", "mean_delay")
                if not (value is None and optional) and not within(value, interval):
                    raise ConfigError(f"Conversions: {name} must be in {interval}, not {value!r}.")
        generator(self.seed)

    @property
    def fields(self) -> Fields:
        """What a model may see: x as a number; user, ad and position as vocabularies, where there are any."""
        names = {"user": self.n_users > 0, "ad": self.n_ads > 0, "position": self.positions > 1}
        categorical: dict[str, Category] = {name: "vocabulary" for name, there in names.items() if there}
        return Fields(categorical=categorical, dense=("x",))

    @property
    def click(self) -> np.ndarray:
        """P(click | x, u, user, ad, position) of every impression, float64, shape [N]."""
        return self._click_given(self._impressions["u"])

    @property
    def conversion(self) -> np.ndarray:
        """P(conversion | do(click), x, u, user, ad): what would convert if it were clicked, float64, shape [N]."""
        return self._conversion_given(self._impressions["u"])

    @property
    def conversion_given_fields(self) -> np.ndarray:
        """The mean of `conversion` over the hidden u: the best that any model of the fields can know, float64, shape [N]."""
        return (self._conversion_given(-1.0) + self._conversion_given(1.0)) / 2

    def log(self, seed: int = 0) -> ClickLog:
        """Draw clicks and conversions of the world's impressions, once.

        Args:
            seed: Which draw.

        Returns:
            One row a page. Columns click, conversion, the fields, item (the ad; 0 without ads), and the truth beside them:
            propensity = P(click), relevance = P(conversion | do(click)). With a delay also time (of the click, days), conversion_time
            (NaN where no conversion is known yet) and eventual_conversion (also those that come later).
        """
        click_p, conversion_p = self.click, self.conversion
        parts = [generator(seed, "conversions", block).random((4, BLOCK))[:, : rows.stop - rows.start] for block, rows in self._blocks()]
        drawn = np.concatenate(parts, axis=1)
        click = drawn[0] < click_p
        eventual = click & (drawn[1] < conversion_p)
        time, delay = drawn[2] * self.observed_until, self._delay_at(drawn[3])
        known = eventual & (time + delay <= self.observed_until)
        columns = {"item": self._columns.get("ad", np.zeros(self.n_impressions, dtype=np.int32)), "click": click.astype(np.int8)}
        columns |= {"conversion": known.astype(np.int8), **self._columns, "propensity": click_p, "relevance": conversion_p}
        if self.mean_delay is not None:
            conversion_time = np.where(known, time + delay, np.nan)
            columns |= {"time": time, "conversion_time": conversion_time, "eventual_conversion": eventual.astype(np.int8)}
        return ClickLog(np.arange(self.n_impressions + 1), columns)

    def delay_known(self, elapsed: np.ndarray) -> np.ndarray:
        """Return P(a conversion is known | it comes, days since the click), shape of `elapsed`; 1 without a delay."""
        elapsed = np.asarray(elapsed, dtype=np.float64)
        if self.mean_delay is None:
            return np.ones_like(elapsed)
        return -np.expm1(-((elapsed / self._delay_scale) ** self.delay_shape))

    def _delay_at(self, quantile: np.ndarray) -> np.ndarray:
        """Return the quantiles of the delay, in days; 0 without a delay."""
        if self.mean_delay is None:
            return np.zeros_like(quantile)
        return self._delay_scale * (-np.log1p(-quantile)) ** (1 / self.delay_shape)

    @property
    def _delay_scale(self) -> float:
        return (self.mean_delay or 0.0) / gamma(1 + 1 / self.delay_shape)

    def _blocks(self) -> list[tuple[int, slice]]:
        starts = range(0, self.n_impressions, BLOCK)
        return [(block, slice(start, min(start + BLOCK, self.n_impressions))) for block, start in enumerate(starts)]

    @cached_property
    def _impressions(self) -> dict[str, np.ndarray]:
        """Everything about every impression."""
        parts = [self._draw(generator(self.seed, "impressions", block), rows.stop - rows.start) for block, rows in self._blocks()]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    @property
    def _columns(self) -> dict[str, np.ndarray]:
        return {name: self._impressions[name] for name in self.fields.names}

    def _draw(self, rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
        """Draw n impressions; a whole block is drawn, so that the first of them do not depend on how many there are."""
        out: dict[str, np.ndarray] = {"x": _X[rng.choice(len(_X), size=BLOCK, p=_P)], "u": rng.choice([-1.0, 1.0], size=BLOCK)}
        for name, size in (("user", self.n_users), ("ad", self.n_ads)):
            if size:
                weights = 1 / np.arange(1, size + 1)
                out[name] = np.searchsorted(np.cumsum(weights / weights.sum())[:-1], rng.random(BLOCK), side="right").astype(np.int32)
        out["position"] = rng.integers(self.positions, size=BLOCK).astype(np.int32)
        return {name: values[:n] for name, values in out.items()}

    @cached_property
    def _effects(self) -> dict[str, np.ndarray]:
        """Effects of each user and ad on the logits of click and conversion, shape [number, 2]."""
        sizes = {"user": self.n_users, "ad": self.n_ads}
        out = {}
        for name, size in sizes.items():
            first, second = generator(self.seed, name).normal(size=(2, size))
            second = self.correlation * first + np.sqrt(1 - self.correlation**2) * second
            out[name] = self.effects * np.stack([first, second], axis=1)
        return out

    @cached_property
    def _levels(self) -> dict[str, float]:
        """Intercepts of both logits."""
        sample = self._draw(generator(self.seed, "level"), BLOCK)
        rates = {"click": (self.click_rate, self._click_of), "conversion": (self.conversion_rate, self._conversion_of)}
        out = {}
        for name, (rate, probability) in rates.items():
            if rate is not None and rate >= (highest := probability(sample, sample["u"], np.inf).mean()):
                raise ConfigError(f"Conversions: {name}_rate {rate} cannot be reached: position_bias leaves {highest:.3f} at most.")
            low, high = (-40.0, 40.0) if rate is not None else (_LEVELS[name], _LEVELS[name])
            for _ in range(60 if rate is not None else 0):
                middle = (low + high) / 2
                low, high = (middle, high) if probability(sample, sample["u"], middle).mean() < (rate or 0) else (low, middle)
            out[name] = high
        return out

    def _click_given(self, u: np.ndarray | float) -> np.ndarray:
        return self._click_of(self._impressions, u, self._levels["click"])

    def _conversion_given(self, u: np.ndarray | float) -> np.ndarray:
        return self._conversion_of(self._impressions, u, self._levels["conversion"])

    def _click_of(self, rows: dict[str, np.ndarray], u: np.ndarray | float, level: float) -> np.ndarray:
        logit = level + self.selection * rows["x"] + self.confounding * u + self._of_ids(rows, 0)
        return sigmoid(logit) * (1.0 + rows["position"]) ** -self.position_bias

    def _conversion_of(self, rows: dict[str, np.ndarray], u: np.ndarray | float, level: float) -> np.ndarray:
        x = rows["x"]
        return sigmoid(level + self.interaction * x**2 - 0.8 * x + self.confounding * u + self._of_ids(rows, 1))

    def _of_ids(self, rows: dict[str, np.ndarray], which: int) -> np.ndarray | float:
        return sum((self._effects[name][rows[name], which] for name in ("user", "ad") if name in rows), start=0.0)
