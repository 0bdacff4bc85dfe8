"""What a metric is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ultr.data.log import ClickLog

Metric = Callable[[ClickLog], np.ndarray]
