"""The distinct sets of channels that journeys met, how often each occurred, and a quick way to find the subsets of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ultr.attribution.journeys import Journeys
from ultr.attribution.tally import distinct
from ultr.data.padded import offsets_of


@dataclass(frozen=True, eq=False)
class ChannelSets:
    """D distinct sets, kept as a tree: a set is reached from the root by its channels in rising order, a node a channel.

    Args:
        offsets: Set i has the members offsets[i]:offsets[i + 1], shape [D + 1].
        members: Channels, rising within a set.
        count: Journeys with exactly this set, shape [D].
        converted: Conversions of these, shape [D].
        of_journey: The set of each journey, shape [P].
    """

    offsets: np.ndarray
    members: np.ndarray
    count: np.ndarray
    converted: np.ndarray
    of_journey: np.ndarray
    n_channels: int
    _edges: np.ndarray  # parent * n_channels + channel of each node but the root, rising, so that node i + 1 has the entry i
    _node_count: np.ndarray  # of each node and of one more, which stands for no node
    _node_converted: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def sizes(self) -> np.ndarray:
        """Members of each set, shape [D]."""
        return np.diff(self.offsets)

    @property
    def untouched(self) -> float:
        """Journeys without a touch, which lie within every set."""
        return float(self._node_count[0])

    def rows(self, sets: np.ndarray) -> np.ndarray:
        """Return where the members of some sets of one size m stand in `members`, shape [B, m]."""
        return self.offsets[sets][:, None] + np.arange(self.sizes[sets[0]])

    def converted_by_size(self, largest: int, cells: int) -> Iterator[np.ndarray]:
        """Iterate over the sets that converted, some of one size at a time: as many as have about `cells` subsets together."""
        for size in range(1, largest + 1):
            same = np.flatnonzero((self.converted > 0) & (self.sizes == size))
            step = max(1, cells >> size)
            yield from (same[at : at + step] for at in range(0, len(same), step))

    def subset_counts(self, sets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the journeys and conversions with exactly each subset of some sets of one size m, two arrays of shape [B, 2**m]."""
        channels = self.members[self.rows(sets)]
        nodes = np.zeros((len(sets), 1), dtype=np.int64)
        for i in range(
            channels.shape[1]
        ):  # a subset's number has the bit of its largest channel on top, which comes last on the way from the root
            nodes = np.concatenate([nodes, self._children(nodes, channels[:, i, None])], axis=1)
        return self._node_count[nodes], self._node_converted[nodes]

    def within(self, chosen: int) -> np.ndarray:
        """Return the numbers of the sets that are subsets of one."""
        inside = np.zeros(self.n_channels, dtype=bool)
        inside[self.members[self.offsets[chosen] : self.offsets[chosen + 1]]] = True
        outside = offsets_of(~inside[self.members])  # members outside so far
        return np.flatnonzero(outside[self.offsets[1:]] == outside[self.offsets[:-1]])

    def _children(self, nodes: np.ndarray, channels: np.ndarray) -> np.ndarray:
        edges = nodes * self.n_channels + channels
        place = np.searchsorted(self._edges, edges)
        found = self._edges[np.minimum(place, len(self._edges) - 1)] == edges
        return np.where(found, place + 1, len(self._edges) + 1)


def channel_sets(journeys: Journeys) -> ChannelSets:
    """Find the distinct sets of all journeys, whatever the number of channels; at least one has a touch."""
    n_channels = len(journeys.channels)
    pairs = _pairs(journeys)
    channel = pairs % n_channels
    sizes = np.bincount(pairs // n_channels, minlength=len(journeys))
    starts = offsets_of(sizes)[:-1]
    node, edges, n_nodes = np.zeros(len(journeys), dtype=np.int64), [], 1
    for depth in range(int(sizes.max())):
        deeper = np.flatnonzero(sizes > depth)
        used, place = distinct(node[deeper] * n_channels + channel[starts[deeper] + depth], n_nodes * n_channels)
        node[deeper] = n_nodes + place
        edges.append(used)
        n_nodes += len(used)
    node_of_set, of_journey = distinct(node, n_nodes)
    example = np.empty(len(node_of_set), dtype=np.int64)
    example[of_journey] = np.arange(len(node))  # any journey of the set
    offsets = offsets_of(sizes[example])
    members = channel[np.repeat(starts[example] - offsets[:-1], sizes[example]) + np.arange(offsets[-1])]
    count, converted = (np.bincount(node, values, n_nodes + 1) for values in (journeys.count, journeys.converted))
    return ChannelSets(
        offsets=offsets,
        members=members,
        count=count[node_of_set],
        converted=converted[node_of_set],
        of_journey=of_journey,
        n_channels=n_channels,
        _edges=np.concatenate(edges),
        _node_count=count,
        _node_converted=converted,
    )


def _pairs(journeys: Journeys) -> np.ndarray:
    """Return journey * K + channel for the channels that each journey met, rising, each once."""
    pairs = []
    for some in journeys.blocks():
        own = np.repeat(np.arange(some.start, some.stop), journeys.lengths[some]) * len(journeys.channels)
        pairs.append(np.unique(own + journeys.channel[journeys.offsets[some.start] : journeys.offsets[some.stop]]))
    return np.concatenate(pairs)
