"""Sessions of a search engine: a need, queries of varying quality until it is met, clicks by any law, effort and true satisfaction."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from simulators.clicks import Relevance, eye_tracking_examination, of_grades
from simulators.exposure_world import sigmoid
from simulators.fitted import FittedPolicy, Policy, fitted
from simulators.relevance import GradedRelevance
from simulators.session_user import NeedMetLessEffort, Outcomes, Satisfaction, Searcher
from simulators.world import World
from ultr.click_models.base import ClickModel
from ultr.click_models.position_based import PositionBased
from ultr.data.checks import within
from ultr.data.log import ClickLog
from ultr.data.padded import offsets_of
from ultr.data.ranking import RankingData
from ultr.errors import ConfigError, ContractError, UltrWarning
from ultr.random import generator

BLOCK = 4096  # sessions of one generator


def simulate_sessions(
    data: RankingData,
    *,
    policy: Policy | FittedPolicy,
    click_model: ClickModel | None = None,
    max_queries: int = 5,
    n_sessions: int = 1000,
    cutoff: int = 10,
    searcher: Searcher = Searcher(),  # noqa: B008 (frozen)
    relevance: Relevance = GradedRelevance(noise=0.1),  # noqa: B008 (frozen)
    satisfied: Relevance | None = None,
    satisfaction: Satisfaction = NeedMetLessEffort(),  # noqa: B008 (frozen)
    satisfaction_noise: float = 0.2,
    seed: int = 0,
) -> ClickLog:
    """Simulate what users do who reformulate until they have found what they need.

    A session's topic is a query of `data`, drawn uniformly from those with documents. The user wants a number of its relevant documents.
    Each query of the session is about the topic, with a quality of its own, q = sigmoid(skill of the user + chance). It finds each relevant
    document of the topic with probability q, each other one with probability `clutter`, anew for each query. The page shows the first
    `cutoff` of those found in an order that the policy draws: a better query has more relevant documents, and has them higher. All are
    documents of `data` with their own features and grades, so what is learnt from the log can be judged on `data`.

    The clicks on a page follow the click model. The user reads down to the last click, or the whole page without one, and leaves after a
    page when the need is met, when the effort has reached the patience, or after `max_queries`.

    Sessions are drawn in blocks of 4,096, each from its own generator (seed, block): a log of 5,000 starts with the sessions of one of
    4,096. Memory goes with 4,096 times the largest number of documents of a query.

    Args:
        data: Topics, documents and grades.
        policy: Settings, fitted here with the same seed, or a fitted policy, taken as it is.
        click_model: The law of the clicks; the position-based model with `eye_tracking_examination()` when None, which covers ten
            positions.
        max_queries: Most queries of a session, at least 1.
        n_sessions: At least 1.
        cutoff: Most rows of a page, at least 1.
        searcher: Need, skill, costs and patience.
        relevance: Maps all grades [D] to P(click | examined) in [0, 1], [D].
        satisfied: Maps all grades [D] to P(satisfied | clicked) in [0, 1], [D], for laws that read it and for no other.
        satisfaction: Maps what came of sessions to one number each, such as NeedMet(), NeedMetLessEffort(), FoundPerEffort(), TotalGain().
        satisfaction_noise: Standard deviation of the normal noise added to it, at least 0.
        seed: Non-negative integer.

    Returns:
        Pages in the order of sessions and queries; where a query found nothing the page is empty. Page columns session (a number), query
        (the topic's id in `data`) and quality; and, the same on all pages of a session, the truth: need, found (distinct relevant documents
        clicked), gain (sum of their grades), effort, satisfaction. Row columns item (row of `data`), position, click, grade, relevance =
        P(click | examined) of this user, smaller for what was read before; satisfied where given; propensity = P(examined), whatever was
        clicked above on the page. `propensity` is missing if the law does not say what is examined, and, with a warning, if there are rows
        that nobody ever examines.

    Raises:
        ConfigError: a setting is out of range, or `satisfied` is missing where the law reads it, or given where it does not.
        PropensityError: the law covers fewer positions than a page has.
        LogError: a probability is outside [0, 1].
        ContractError: the policy, the law, the relevance or the satisfaction breaks its contract.

    Source:
        Own design: users of fixed need and random patience, after the simulated searchers of session search evaluation.
    """
    for name, value in (("n_sessions", n_sessions), ("max_queries", max_queries), ("cutoff", cutoff)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
            raise ConfigError(f"{name} must be a whole number of at least 1, not {value!r}.")
    if not within(satisfaction_noise, "[0, inf)"):
        raise ConfigError(f"satisfaction_noise must be in [0, inf), not {satisfaction_noise!r}.")
    if not isinstance(data, RankingData):
        raise ConfigError(f"simulate_sessions draws from graded data, a RankingData, not {type(data).__name__}.")
    if not isinstance(searcher, Searcher):
        raise ConfigError(f"simulate_sessions: searcher must be a Searcher(...), not {searcher!r}.")
    for name, given in (("policy", policy), ("satisfaction", satisfaction), ("relevance", relevance)):
        if isinstance(given, type):
            raise ConfigError(f"simulate_sessions: {name} must be an object, not the class: write {given.__name__}(...).")
    for name, law_of in (("satisfaction", satisfaction), ("relevance", relevance)):
        if not callable(law_of):
            raise ConfigError(f"simulate_sessions: {name} must be a function, such as those of `simulators`, not {law_of!r}.")
    law = _checked_law(click_model, satisfied)
    attraction = of_grades("relevance", relevance, data.grades)
    satisfying = None if satisfied is None else of_grades("satisfied", satisfied, data.grades)
    world = World(data, fitted(policy, data, seed), law, attraction, satisfying, int(np.diff(data.offsets).max()), seed)
    blocks = []
    for block, start in enumerate(range(0, n_sessions, BLOCK)):
        rng = generator(seed, "sessions", block)
        users = _Users.drawn(world, searcher, min(BLOCK, n_sessions - start), rng)
        log, outcomes = _searched(world, searcher, users, int(max_queries), int(cutoff), rng)
        felt = _felt(satisfaction, outcomes) + satisfaction_noise * rng.standard_normal(len(users.topic))
        blocks.append(_told(log, outcomes, felt, start))
    return _without_unseen(ClickLog.concat(blocks), law)


@dataclass(frozen=True, eq=False)
class _Users:
    """Who searches in the sessions of a block: the topic's query number, the need, the logit of the skill, the patience; each [S]."""

    topic: np.ndarray
    need: np.ndarray
    skill: np.ndarray
    patience: np.ndarray

    @classmethod
    def drawn(cls, world: World, searcher: Searcher, n: int, rng: np.random.Generator) -> _Users:
        relevant = np.append(0, np.cumsum(world.data.grades >= searcher.relevant))
        topic = world.queries[rng.integers(len(world.queries), size=n)]
        available = relevant[world.data.offsets[topic + 1]] - relevant[world.data.offsets[topic]]
        need = 1 + (rng.random(n) * np.minimum(searcher.need, np.maximum(available, 1))).astype(np.int64)
        skill = searcher.skill + searcher.skill_spread * rng.standard_normal(n)
        waits = rng.standard_exponential(n)  # drawn also where patience has no end, so that what follows is the same
        return cls(topic, need, skill, waits * searcher.patience if searcher.patience < np.inf else np.full(n, np.inf))


def _searched(
    world: World, searcher: Searcher, users: _Users, max_queries: int, cutoff: int, rng: np.random.Generator
) -> tuple[ClickLog, Outcomes]:
    """Let the users of a block search: their pages, page columns session and quality, and what came of it."""
    n = len(users.topic)
    found, gain, queries = (np.zeros(n, dtype=np.int64) for _ in range(3))
    effort = np.zeros(n)
    read = np.zeros((n, world.width), dtype=bool)  # by the document's place in the topic
    active, pieces = np.arange(n), []
    for number in range(max_queries):
        quality = sigmoid(users.skill[active] + searcher.query_spread * rng.standard_normal(len(active)))
        rows = _page(world, searcher, users.topic[active], quality, cutoff, rng)
        shown = rows >= 0
        place = np.where(shown, rows - world.data.offsets[users.topic[active]][:, None], 0)
        before = read[active[:, None], place]
        cells = _clicked(world, np.maximum(rows, 0), np.where(before, searcher.again, 1.0), shown, rng)
        click = cells["click"].astype(bool)
        new = click & ~before & (world.data.grades[rows] >= searcher.relevant)
        session, slot = np.nonzero(click)
        read[active[session], place[session, slot]] = True
        found[active] += new.sum(axis=1)
        gain[active] += (new * world.data.grades[rows]).sum(axis=1)
        effort[active] += _cost(searcher, click, shown) + searcher.reformulation * (number > 0)
        queries[active] += 1
        columns = {name: values[shown] for name, values in cells.items()}
        pieces.append(ClickLog(offsets_of(shown.sum(axis=1)), columns, {"session": active, "quality": quality}, world.data.items))
        active = active[(found[active] < users.need[active]) & (effort[active] < users.patience[active])]
        if not len(active):
            break
    log = ClickLog.concat(pieces)
    log = log.take(np.argsort(log.page_columns["session"], kind="stable"))
    ids = world.data.query_ids[users.topic][log.page_columns["session"]]
    pages = {"session": log.page_columns["session"], "query": ids, "quality": log.page_columns["quality"]}
    return ClickLog(log.offsets, log.columns, pages, log.items), Outcomes(users.need, found, gain, effort, queries)


def _page(world: World, searcher: Searcher, topic: np.ndarray, quality: np.ndarray, cutoff: int, rng: np.random.Generator) -> np.ndarray:
    """Draw what a query of each topic [B] shows: rows of the data, -1 behind the last one, shape [B, cutoff at most]."""
    order = world.draw(topic, rng)
    helps = world.data.grades[order] >= searcher.relevant  # whatever stands behind the last one is taken out below
    hit = (rng.random(order.shape) < np.where(helps, quality[:, None], searcher.clutter)) & (order >= 0)
    first = np.argsort(~hit, axis=1, kind="stable")[:, :cutoff]
    return np.where(np.take_along_axis(hit, first, axis=1), np.take_along_axis(order, first, axis=1), -1)


def _clicked(world: World, rows: np.ndarray, share: np.ndarray, shown: np.ndarray, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
    """Return the columns of pages, each [B, L], clicks drawn by the law; `share` scales the relevance."""
    attraction = (world.attraction[rows] * share).astype(np.float32)
    satisfied = None if world.satisfaction is None else world.satisfaction[rows]
    cells = {
        "item": rows.astype(np.int32),
        "position": np.broadcast_to(np.arange(rows.shape[1], dtype=np.int32), rows.shape),
        "click": world.law.sample(attraction, rng, satisfied, shown),
        "grade": world.data.grades[rows],
        "relevance": attraction,
    }
    if satisfied is not None:
        cells["satisfied"] = satisfied
    if world.law.knows_examination:
        cells["propensity"] = world.law.marginal_examination(attraction, satisfied, shown).astype(np.float32)
    return cells


def _cost(searcher: Searcher, click: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return the effort on each page [B]: rows down to the last click, or all of them, and the documents clicked."""
    last = click.shape[1] - np.argmax(click[:, ::-1], axis=1)
    seen = np.where(click.any(axis=1), last, shown.sum(axis=1))
    return searcher.snippet * seen + searcher.document * click.sum(axis=1)


def _felt(satisfaction: Satisfaction, outcomes: Outcomes) -> np.ndarray:
    values = np.asarray(satisfaction(outcomes), dtype=np.float64)
    if values.shape != outcomes.need.shape or not np.isfinite(values).all():
        raise ContractError(f"satisfaction must return one finite number for each of {outcomes.need.shape} sessions, not {values.shape}.")
    return values


def _told(log: ClickLog, outcomes: Outcomes, felt: np.ndarray, start: int) -> ClickLog:
    """Write the truth on the pages of a block, and number its sessions from `start`."""
    session = log.page_columns["session"]
    truth = {"need": outcomes.need, "found": outcomes.found, "gain": outcomes.gain, "effort": outcomes.effort, "satisfaction": felt}
    pages = {**log.page_columns, "session": session + start, **{name: values[session] for name, values in truth.items()}}
    return ClickLog(log.offsets, log.columns, pages, log.items)


def _without_unseen(log: ClickLog, law: ClickModel) -> ClickLog:
    """Leave out the column `propensity`, with a warning, where it has zeros: no weight makes up for a row that is never seen."""
    if "propensity" not in log.columns or log.columns["propensity"].min(initial=1) > 0:
        return log
    warnings.warn(
        f"{type(law).__name__} never examines some rows of these sessions, so the log has no column 'propensity', whose values are above 0."
        " To have one give the law an examination above 0, or keep relevance below 1.",
        UltrWarning,
        stacklevel=3,
    )
    columns = {name: values for name, values in log.columns.items() if name != "propensity"}
    return ClickLog(log.offsets, columns, log.page_columns, log.items)


def _checked_law(law: ClickModel | None, satisfied: Relevance | None) -> ClickModel:
    if law is None:
        law = PositionBased(eye_tracking_examination())
    if not isinstance(law, ClickModel):
        hint = f"write {law.__name__}(...)" if isinstance(law, type) else "e.g. PositionBased(examination)"
        raise ConfigError(f"simulate_sessions: click_model must be a click model, an object, not {law!r}: {hint}.")
    name = type(law).__name__
    if law.reads_satisfaction and satisfied is None:
        raise ConfigError(f"{name} needs satisfied=, a law of grades that gives P(satisfied | clicked), e.g. GradedRelevance(noise=0.1).")
    if satisfied is not None and not law.reads_satisfaction:
        raise ConfigError(f"{name} does not read what satisfies: leave satisfied= out.")
    return law
