"""Labelled pages, split for training and validation: of a log in memory, or of one that is read again for every epoch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ultr.data.items import Items, features_of
from ultr.data.log import ClickLog
from ultr.data.source import LogSource, concat, mapped, resident, shuffled
from ultr.errors import LogError
from ultr.random import generator, mix
from ultr.training import ranks
from ultr.training.batch import Batch, PageBatches
from ultr.training.settings import Training
from ultr.training.split import held_out

TARGET = "ultr.target"  # the row column in which the loss finds its labels
MASS = "ultr.mass"  # labels that count as mass, where they are not the target
WATCHED = 1 << 17  # held-out pages of a log on disk that are watched
_HELD = "ultr.held_out"


PAGES = ("item", "position", "query", "page", "user", "session", "count", "weight", "reason")  # what training on pages reads


def loaded(source: LogSource, training: Training) -> LogSource:
    """Return a source that is short enough for it as a log in memory, any other as it is."""
    whole = resident(source, training.shuffle_rows)
    return source if whole is None else whole


@dataclass(frozen=True, eq=False)
class LabelledPages:
    """The labelled pages that this process trains on and watches.

    Args:
        source: Its share of the log, with the row column TARGET and the page column _HELD.
        items: The items of all pages.
        shown: True for each item that a training page of any process shows, shape [I].
        n_pages: Useful training pages of each process.
        mass: Label mass of the useful training pages of all processes.
        watched: Held-out pages whose loss is watched, in memory.
        watched_mass: Label mass of each of them, shape [P'].
        any_watched: Whether any process watches a page.
        keep_empty_pages: Whether pages without a positive label are useful.
    """

    source: LogSource
    items: Items
    shown: np.ndarray
    n_pages: list[int]
    mass: float
    watched: ClickLog
    watched_mass: np.ndarray
    any_watched: bool
    keep_empty_pages: bool

    def batches(self, training: Training, seed: int) -> Iterable[tuple[Batch, Tensor]]:
        """Return the training pages in random batches, `training.batch_pages` over all processes, with their weights in the mean loss.

        A page that was shown once weighs one over the mean label mass of a training page, so that learning rate and weight decay mean the
        same for rare clicks, frequent clicks and grades.
        """
        rank, world = ranks.rank(), ranks.world()
        size = -(-training.batch_pages // world)
        weight = self.n_pages[rank] * world / self.mass
        rng = generator(seed, "batches", *([rank] if rank else []))
        if isinstance(self.source, ClickLog):
            pages = self._useful(self.source)
            return PageBatches(self.source, pages, self.source.counts[pages] * weight, size, rng, training.device)
        return _StreamedBatches(self, weight, size, rng, training)

    def _useful(self, log: ClickLog) -> np.ndarray:
        """Return the numbers of the pages to train on."""
        return np.flatnonzero(_useful(log, self.keep_empty_pages) & ~log.page_columns[_HELD])


@dataclass(frozen=True, eq=False)
class _StreamedBatches:
    """Batches of a log that is read from its source again for every epoch, in a new order."""

    pages: LabelledPages
    weight: float
    size: int
    rng: np.random.Generator
    training: Training

    def __iter__(self) -> Iterator[tuple[Batch, Tensor]]:
        device = self.training.device
        features = torch.from_numpy(features_of(self.pages.items, "Training")).to(device)
        for log in shuffled(self.pages.source, self.rng, self.training.shuffle_rows):
            pages = self.pages._useful(log)
            for chosen in np.array_split(pages, max(1, -(-len(pages) // self.size))):
                if len(chosen):
                    weights = torch.from_numpy((log.counts[chosen] * self.weight).astype(np.float32)).to(device)
                    yield Batch(log, chosen, device, features), weights


def labelled_pages(source: LogSource, training: Training, *, by: str, seed: int, keep_empty_pages: bool) -> LabelledPages:
    """Split the pages of a log and survey them; where several processes train, each takes its share of whole sessions.

    Args:
        source: Pages with the row column TARGET, and MASS where the label mass is another column's.
        training: Which share is held out, and how many rows may be in memory.
        by: Name of the estimator, for messages.
        seed: Which queries are held out, whatever the number of processes.
        keep_empty_pages: Whether pages without a positive label matter.

    Raises:
        LogError: no training page has a positive label, or a process gets no page to train on.
    """
    source = loaded(source, training)
    split = held_out(source, training.validation, seed)

    def marked(log: ClickLog) -> ClickLog:
        return replace(log, page_columns={**log.page_columns, _HELD: split(log)})

    source = mapped(source, marked)
    if ranks.world() > 1:
        source = _share(source)
    survey = _Survey(keep_empty_pages, None if isinstance(source, ClickLog) else WATCHED, seed)
    for chunk in source.chunks():
        survey.add(chunk)
    return survey.done(source, by)


def _share(source: LogSource) -> LogSource:
    """Return this process's share: whole sessions; or every n-th page, where a log on disk has fewer row groups than processes."""
    rank, world = ranks.rank(), ranks.world()
    groups = getattr(getattr(source, "source", source), "groups", None)
    if groups is None or len(groups) >= world:
        return source.shards(world)[rank]
    return mapped(source, lambda log: log.take(np.arange(rank, len(log), world)))


class _Survey:
    """What has to be known of all pages before the first step."""

    def __init__(self, keep_empty_pages: bool, most_watched: int | None, seed: int) -> None:
        self._keep_empty_pages, self._most_watched = keep_empty_pages, most_watched
        self._salt = generator(seed, "watched").integers(1 << 63, dtype=np.uint64)
        self._items: Items | None = None
        self._shown = np.zeros(0, dtype=bool)
        self._pages = self._held_pages = self._seen = 0
        self._mass = self._all_mass = 0.0
        self._watched: list[tuple[np.ndarray, ClickLog]] = []  # random numbers and pages

    def add(self, log: ClickLog) -> None:
        """Take the next pages."""
        held, useful = log.page_columns[_HELD], _useful(log, self._keep_empty_pages)
        mass = mass_of_page(log)
        pages = np.flatnonzero(useful & ~held)
        self._items = log.items
        if log.items is not None:
            self._shown.resize(len(log.items), refcheck=False)
            self._shown[log.columns["item"][np.repeat(~held, log.lengths)]] = True
        self._pages += len(pages)
        self._held_pages += int(held.sum())
        self._mass += float(mass[pages].sum())
        self._all_mass += float(mass[~held].sum())
        watched = np.flatnonzero(useful & held)
        self._watched.append((mix(mix(watched + self._seen) ^ self._salt), log.take(watched)))
        self._seen += len(log)
        self._drop(2)

    def done(self, source: LogSource, by: str) -> LabelledPages:
        """Put together what all processes have seen."""
        self._drop(1)
        said = ranks.gathered((self._pages, self._held_pages, self._mass, self._all_mass, self._shown))
        n_pages = [pages for pages, *_ in said]
        if sum(all_mass for _, _, _, all_mass, _ in said) == 0:
            held = sum(pages for _, pages, *_ in said)
            raise LogError(f"{by} has nothing to learn from: no training page has a positive label; {held} pages are held out.")
        if min(n_pages) == 0:
            raise LogError(
                f"{by} is trained by {len(n_pages)} processes, but there are training pages for {np.count_nonzero(n_pages)} only:"
                " use fewer processes."
            )
        watched = concat([log for _, log in self._watched])
        return LabelledPages(
            source=source,
            items=self._items,  # type: ignore[arg-type]  # features were asked for before
            shown=np.logical_or.reduce([shown for *_, shown in said]),
            n_pages=n_pages,
            mass=sum(mass for _, _, mass, _, _ in said),
            watched=watched,
            watched_mass=mass_of_page(watched),
            any_watched=any(ranks.gathered(len(watched) > 0)),
            keep_empty_pages=self._keep_empty_pages,
        )

    def _drop(self, slack: int) -> None:
        """Keep the pages with the smallest random numbers, `slack` times as many as may stay in the end."""
        n = sum(len(numbers) for numbers, _ in self._watched)
        if self._most_watched is None or n <= slack * self._most_watched:
            return
        largest = np.partition(np.concatenate([numbers for numbers, _ in self._watched]), self._most_watched)[self._most_watched]
        kept = [(numbers, log, numbers < largest) for numbers, log in self._watched]
        self._watched = [(numbers[keep], log.select(keep)) for numbers, log, keep in kept]


def mass_of_page(log: ClickLog) -> np.ndarray:
    """Return the label mass of each page over all its shows, shape [P]."""
    return np.bincount(log.page_of_row(), log.columns.get(MASS, log.columns[TARGET]), minlength=len(log)) * log.counts


def _useful(log: ClickLog, keep_empty_pages: bool) -> np.ndarray:
    if keep_empty_pages:
        return np.ones(len(log), dtype=bool)
    return np.bincount(log.page_of_row(), log.columns[TARGET], minlength=len(log)) > 0
