"""What users do on a page, told step by step: each click model once more, as a story with coin flips, and all ways the story can go.

Written from the definitions, without a line of the library: what the tests of the laws and of their learning are measured against.
"""

import itertools
from collections import defaultdict

import numpy as np

THETA = [0.9, 0.6, 0.5, 0.2]
TRUST_POSITIVE, TRUST_NEGATIVE = [1.0, 0.95, 0.9, 0.8], [0.6, 0.3, 0.2, 0.1]
LAMBDA = [0.8, 0.5, 0.3, 0.7]
GAMMA = 0.85
TAU = (0.9, 0.6, 0.25)
BROWSING = [[0.9, None, None, None], [0.7, 0.95, None, None], [0.4, 0.6, 0.8, None], [0.2, 0.3, 0.5, 0.7]]
WEIGHTS = (0.5, 0.3, 0.2)


def position_based(flip, a, s, n):
    page = Page(n)
    for k in range(n):
        page.examined[k] = flip(THETA[k])
        attracted = flip(a[k])
        page.clicks[k] = page.examined[k] and attracted
    return page


def trust_bias(flip, a, s, n):
    page = Page(n)
    for k in range(n):
        page.relevant[k] = flip(a[k])
        page.examined[k] = flip(THETA[k])
        page.clicks[k] = page.examined[k] and flip(TRUST_POSITIVE[k] if page.relevant[k] else TRUST_NEGATIVE[k])
    return page


def cascade(flip, a, s, n):
    page = Page(n)
    for k in range(n):
        page.examined[k] = True
        if flip(a[k]):
            page.clicks[k] = True
            break
    return page


def dependent_click(flip, a, s, n):
    page = Page(n)
    for k in range(n):
        page.examined[k] = True
        page.clicks[k] = flip(a[k])
        if page.clicks[k] and not flip(LAMBDA[k]):
            break
    return page


def simplified_dynamic_bayesian(flip, a, s, n):
    page = Page(n)
    for k in range(n):
        page.examined[k] = True
        page.clicks[k] = flip(a[k])
        if page.clicks[k] and flip(s[k]):
            page.satisfied[k] = True
            break
    return page


def dynamic_bayesian(flip, a, s, n):
    page = Page(n)
    for k in range(n):
        page.examined[k] = True
        page.clicks[k] = flip(a[k])
        page.satisfied[k] = page.clicks[k] and flip(s[k])
        if page.satisfied[k] or not flip(GAMMA):
            break
    return page


def click_chain(flip, a, s, n):
    page = Page(n)
    for k in range(n):
        page.examined[k] = True
        page.clicks[k] = flip(a[k])
        page.relevant[k] = page.clicks[k] and flip(a[k])
        if not flip((TAU[2] if page.relevant[k] else TAU[1]) if page.clicks[k] else TAU[0]):
            break
    return page


def user_browsing(flip, a, s, n):
    page, last = Page(n), 0
    for k in range(n):
        page.examined[k] = flip(BROWSING[k][last])
        page.clicks[k] = page.examined[k] and flip(a[k])
        if page.clicks[k]:
            last = k + 1
    return page


def mixture(flip, a, s, n):
    """Half of the users read by position, three in ten as a cascade, the rest as in the dynamic Bayesian network."""
    if flip(WEIGHTS[0]):
        page, kind = position_based(flip, a, s, n), 0
    elif flip(WEIGHTS[1] / (WEIGHTS[1] + WEIGHTS[2])):
        page, kind = cascade(flip, a, s, n), 1
    else:
        page, kind = dynamic_bayesian(flip, a, s, n), 2
    page.kind = kind
    return page


def click_through(flip, a, s, n):
    page = Page(n)
    for k in range(n):
        page.examined[k] = True
        page.clicks[k] = flip(a[k])
    return page


class Page:
    """What happened: lists of True and False, a place for each row."""

    def __init__(self, n):
        self.clicks, self.examined, self.satisfied, self.relevant = ([False] * n for _ in range(4))
        self.kind = 0


def all_ways(story, a, s, n):
    """Every way a story can go: pairs (probability, page). Each run replays one sequence of flips and notes the roads not taken."""
    open_roads = [[]]
    while open_roads:
        road, taken, chance = open_roads.pop(), [], [1.0]

        def flip(p, road=road, taken=taken, chance=chance):
            outcome = road[len(taken)] if len(taken) < len(road) else True
            if len(taken) >= len(road):
                open_roads.append([*taken, False])
            taken.append(outcome)
            chance[0] *= p if outcome else 1 - p
            return outcome

        page = story(flip, a, s, n)
        yield chance[0], page


def tables(story, a, s, n=4):
    """Sum up all ways: click patterns [2^n, n], their probability [2^n], and the sums of probability * event for each pattern.

    Events: examined, satisfied, relevant [2^n, n] and kind [2^n, 3]; divided by the probability they are posteriors given the whole page.
    """
    patterns = np.array(list(itertools.product((0, 1), repeat=n)))
    place = {tuple(pattern): i for i, pattern in enumerate(patterns.tolist())}
    chance, events = np.zeros(len(patterns)), defaultdict(lambda: np.zeros((len(patterns), n)))
    kind = np.zeros((len(patterns), 3))
    for p, page in all_ways(story, a, s, n):
        i = place[tuple(int(c) for c in page.clicks)]
        chance[i] += p
        kind[i, page.kind] += p
        for name in ("examined", "satisfied", "relevant"):
            events[name][i] += p * np.array(getattr(page, name))
    return patterns, chance, {**events, "kind": kind}
