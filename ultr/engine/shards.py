"""Shards of a log: how many there are, and what they are called in errors."""

from __future__ import annotations

from collections.abc import Sequence

from ultr.data.source import LogSource

IN_MEMORY, AT_MOST = 16, 64


def default_shards(source: LogSource) -> int:
    """Return into how many shards a log is cut: by the log alone, so that any engine on any machine adds up the same pieces."""
    groups = getattr(source, "groups", None)  # a log on disk has row groups
    return IN_MEMORY if groups is None else min(max(1, len(groups)), AT_MOST)


def shard_names(shards: Sequence[LogSource]) -> list[str]:
    """Name shards by their number and, on disk, by the files and row groups that they read."""
    return [f"shard {i} of {len(shards)}{_where(shard)}" for i, shard in enumerate(shards)]


def _where(shard: LogSource) -> str:
    groups = getattr(shard, "groups", ())
    if not groups:
        return ""
    first, last = groups[0], groups[-1]
    if first.path != last.path:
        return f" ({first.path} from row group {first.index} on, to {last.path} up to row group {last.index})"
    rows = f"row group {first.index}" if first.index == last.index else f"row groups {first.index} to {last.index}"
    return f" ({first.path}, {rows})"
