"""U-measure of a session."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ultr.metrics.trailtext import Trailtext, TrailtextMetric


@dataclass(frozen=True)
class UMeasure(TrailtextMetric):
    """Sum over the relevant documents of a session of label times 1 - offset / horizon, the offset in all that the user reads.

    The text is that of `NUM`, which divides this by the same sum for the best session: there is what costs and what pays. A session
    without a positive label has 0, also where nothing was shown; a document that is shown again pays nothing.

    Args:
        snippet: Cost of a row shown, above 0. All costs are in one unit of the user's choice, e.g. characters.
        document: Cost of a relevant document, 0 or more, where the column `length` is missing or NaN.
        reformulation: Cost of each query but the first, 0 or more.
        horizon: Offset from which on nothing pays, above 0; infinity for no discount.
        depth: "full" reads whole pages. "last" reads down to the last row that pays or has a positive label, and whole pages without one.
        enhance: True lets a document pay where it is first shown, also where it was skipped; False at its first positive label.
        label: Column of numbers of 0 or more; `click` or judgements.
        k: Rows of a page that are shown, at least 1; None for all of them.

    Raises:
        ConfigError: a setting has an impossible value.

    Examples:
        The text of the first session is a, b, text of b (6), query (11), c, text of c (16): 1 - .06 + 1 - .16. In the last one a pays
        at 5, where it was first shown; two queries, a and b later, the text of b ends at 21.

        >>> from ultr.metrics.sketch import sketch
        >>> UMeasure()(sketch("a b* | c*", "b* c*", "a", "a | | a* b*")).round(4)
        array([1.78, 1.85, 0.  , 1.74])
        >>> UMeasure(label="grade")(sketch("a=2 b=1")).round(4)
        array([2.8])

        With `depth="last"` the row below the click is not read: c ends at 15.

        >>> UMeasure(depth="last")(sketch("b* a | c*")).round(4), UMeasure()(sketch("b* a | c*")).round(4)
        (array([1.8]), array([1.79]))

    Source:
        Sakai and Dou (2013), Summaries, ranked retrieval and sessions, SIGIR. doi:10.1145/2484028.2484031; read as cited in the
        encyclopedia entry "U-measure" by Sakai. The session form is that of `NUM`.

    Differs:
        Constants are ours, and the sum is not divided by a number of documents.
    """

    snippet: float = 1
    document: float = 4
    reformulation: float = 5
    horizon: float = 100
    depth: str = "full"
    enhance: bool = True
    label: str = "click"
    k: int | None = None

    def of_text(self, text: Trailtext) -> np.ndarray:
        return text.utility(self.horizon)
