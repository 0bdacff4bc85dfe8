"""Chain laws on logs whose tails do not stay in memory, and by other engines: the same bits."""

import numpy as np
import pytest
from click_laws import STORIES
from click_logs import fit, simulated

from ultr import click_models
from ultr.click_models import ClickChain, DependentClick, DynamicBayesian, SimplifiedDynamicBayesian, tails
from ultr.engine import Processes, Serial
from ultr.errors import FileError

CHAINS = (ClickChain, DynamicBayesian, DependentClick, SimplifiedDynamicBayesian)
SIZES = {"_PARCEL": 500, "RESIDENT": 1_500}  # several parcels in memory and several in files


def same(one, other) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("attractions", "objectives", "log_likelihoods"))


@pytest.fixture
def parcels(monkeypatch):
    for name, size in SIZES.items():
        monkeypatch.setattr(tails, name, size)


@pytest.mark.parametrize("law", CHAINS)
def test_tails_in_files_say_what_they_say_in_memory(law, monkeypatch, parcels):
    log = simulated(STORIES[law.__name__][0], 3_000, cutoff=4)
    in_files = fit(law, log, max_iter=6)
    monkeypatch.setattr(tails, "RESIDENT", 1 << 25)
    assert same(fit(law, log, max_iter=6), in_files)
    monkeypatch.setattr(tails, "_PARCEL", 1 << 22)  # one parcel: summed in another order
    np.testing.assert_allclose(fit(law, log, max_iter=6).attractions, in_files.attractions, rtol=1e-9)


def test_an_engine_gives_the_same_bits(parcels):
    log = simulated(STORIES["ClickChain"][0], 3_000, cutoff=4)
    alone, serial, processes = (fit(ClickChain, log, max_iter=4, engine=engine) for engine in (None, Serial(), Processes(2)))
    assert same(alone, serial)
    assert same(alone, processes)
    assert np.array_equal(alone.model.tau_skip, processes.model.tau_skip)


def test_parcels_lie_in_files_that_go_with_the_fit(parcels, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store, seen = tails.TailStore, []

    class Watched(store):
        def close(self, away):
            super().close(away)
            seen.append(len(list(tmp_path.rglob("*.npy"))))

    monkeypatch.setattr("ultr.click_models.chain_learner.TailStore", Watched)
    fit(DynamicBayesian, simulated(STORIES["DynamicBayesian"][0], 3_000, cutoff=4), max_iter=2)
    assert max(seen) >= 2
    assert not list(tmp_path.iterdir())


def test_a_place_without_room_is_said(parcels, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/nowhere/at/all")
    with pytest.raises(FileError, match="Set TMPDIR to a place with room"):
        fit(DynamicBayesian, simulated(STORIES["DynamicBayesian"][0], 3_000, cutoff=4), max_iter=2)


def test_what_is_no_engine_is_refused():
    with pytest.raises(ValueError, match="engine must be an object"):
        click_models.fit(DynamicBayesian, simulated(STORIES["DynamicBayesian"][0], 50), engine=2)
