"""The curve that DLA reads off a propensity head of one's own, on pages that do not start at the first position."""

import numpy as np
import torch

from ultr import ClickLog
from ultr.estimators.ranking.dla import _curve
from ultr.models import PositionLogits

THETA = np.array([0.8, 0.7, 0.4, 0.2, 0.1])


class SameHead(PositionLogits):
    """The default head, which the estimator cannot know."""


def make_log(starts, lengths, counts=None):
    position = np.concatenate([start + np.arange(n) for start, n in zip(starts, lengths, strict=True)])
    pages = {} if counts is None else {"count": np.array(counts)}
    return ClickLog(np.concatenate([[0], np.cumsum(lengths)]), {"item": np.zeros(len(position), np.int64), "position": position}, pages)


def curve(log):
    head = SameHead(len(THETA))
    with torch.no_grad():
        head.logits[:] = torch.from_numpy(np.log(THETA)) + 3
    return _curve(head, log, int(log.columns["position"].max()) + 1)


def test_a_page_that_starts_further_down_takes_its_level_from_those_above():
    log = make_log([1, 0, 2, 0], [3, 3, 3, 0], [1, 5, 2, 1])
    np.testing.assert_allclose(curve(log), THETA / THETA[0], rtol=1e-5)


def test_the_first_position_shown_is_1():
    np.testing.assert_allclose(curve(make_log([1, 1, 2], [3, 2, 3])), [np.nan, *THETA[1:] / THETA[1]], rtol=1e-5)


def test_no_level_without_a_page_that_leads_there():
    np.testing.assert_allclose(curve(make_log([0, 3], [2, 2])), [1, THETA[1] / THETA[0], np.nan, np.nan, np.nan], rtol=1e-5)
