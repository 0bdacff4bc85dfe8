"""NUM: the U-measure of a session, divided by that of the best session."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.errors import ConfigError
from ultr.metrics.sessions import check_choice
from ultr.metrics.trailtext import Trailtext, TrailtextMetric


@dataclass(frozen=True)
class NUM(TrailtextMetric):
    """Normalised U-measure of a session, in [0, 1]: how early in all that the user reads the relevant documents come.

    The session is one text. Each row shown costs `snippet`; a relevant document is read once, at the cost of its length; a further query
    costs `reformulation`. A document pays its largest label in the session, discounted by 1 - offset / horizon, where the offset is the
    end of its text. The best session is one query that shows the relevant documents only, those that pay most for their text first.

    A session without a positive label has 0, also where nothing was shown. A document that is shown again costs a snippet and pays
    nothing. An empty page costs its reformulation. What is shown after the last relevant document changes nothing.

    Args:
        snippet: Cost of a row shown, above 0. All costs are in one unit of the user's choice, e.g. characters.
        document: Cost of a relevant document, 0 or more, where the column `length` is missing or NaN.
        reformulation: Cost of each query but the first, 0 or more.
        horizon: Offset from which on nothing pays, above 0; infinity for no discount.
        depth: "full" reads whole pages. "last" reads down to the last row that pays or has a positive label, and whole pages without one.
        ideal: "shown" makes the best session from the documents shown. "pool" adds those ranked below `k`, and needs judgements.
        enhance: True lets a document pay where it is first shown, also where it was skipped; False at its first positive label.
        label: Column of numbers of 0 or more; `click` or judgements.
        k: Rows of a page that are shown, at least 1; None for all of them.

    Raises:
        ConfigError: a setting has an impossible value, or the pool is to come from clicks.

    Examples:
        Costs 1, 4 and 5, horizon 100. b ends at 2 + 4 = 6 and alone would at 5: (1 - .06) / (1 - .05).

        >>> from ultr.metrics.sketch import sketch
        >>> NUM()(sketch("a b*")).round(4)
        array([0.9895])

        The columns are: perfect; a useless query before (5 more, and one snippet); a useless query after; no click; an empty page before;
        a document clicked twice; a late click on a document that was skipped (it pays when first shown).

        >>> NUM()(sketch("a*", "x | a*", "a* | x", "a", " | a*", "a* | a*", "a | a*")).round(4)
        array([1.    , 0.9368, 1.    , 0.    , 0.9474, 1.    , 1.    ])
        >>> NUM(enhance=False)(sketch("a | a*")).round(4)
        array([0.9368])

        A long document (40) before a short one (4): (1 - .41 + 1 - .46) / (1 - .05 + 1 - .46).

        >>> NUM()(sketch("a*/40 b*/4", "b*/4 a*/40")).round(4)
        array([0.7584, 1.    ])

    Source:
        Reconstructed from the abstract and reviews of the paper on NUM (2024), arXiv:2401.12445: session as one text, ideal session,
        click-through enhancement, penalty for reformulation. All constants are ours.
        U-measure: Sakai and Dou (2013), Summaries, ranked retrieval and sessions, SIGIR. doi:10.1145/2484028.2484031

    Differs:
        Where the horizon cuts the best session short its order may not be the best one; a session that beats it has 1.
    """

    snippet: float = 1
    document: float = 4
    reformulation: float = 5
    horizon: float = 100
    depth: str = "full"
    ideal: str = "shown"
    enhance: bool = True
    label: str = "click"
    k: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("NUM", "ideal", self.ideal, ("shown", "pool"))
        if self.ideal == "pool" and self.label == "click":
            raise ConfigError('NUM: ideal="pool" needs judgements, e.g. label="grade": a click tells nothing of what was not shown.')

    def of_text(self, text: Trailtext) -> np.ndarray:
        utility = text.utility(self.horizon)
        best = np.maximum(text.best(self.snippet, self.horizon), utility)
        return np.divide(utility, best, out=np.zeros(len(best)), where=best > 0)
