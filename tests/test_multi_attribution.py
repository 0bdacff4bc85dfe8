"""SharedBottom, MMoE, PLE, HoME, NATAL, MoAE: reductions, gates, fusion, gradients, labels, parameter counts, settings, refusals."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

import simulators
import ultr
from ultr.data.fields import Fields
from ultr.errors import ConfigError, LogError
from ultr.estimators import NATAL, PLE, HoME, MMoE, MoAE, SharedBottom
from ultr.estimators.multi_attribution.mmoe import MMoENetwork
from ultr.estimators.multi_attribution.moae import MoAENetwork
from ultr.estimators.multi_attribution.natal import NATALNetwork
from ultr.estimators.multi_attribution.ple import PLENetwork
from ultr.estimators.multi_attribution.shared_bottom import SharedBottomNetwork
from ultr.models import expert_mixture
from ultr.models.attribution_fitting import read_credits
from ultr.models.attribution_network import Experts, Shape, among_all, mixture
from ultr.models.expert_mixture import mixed_experts
from ultr.training.gradients import joined, projected, scaled

LOG = simulators.Journeys(300, seed=1, n_ads=30, base=-2.5).log(seed=2)
FIELDS = Fields(categorical={"ad": "vocabulary", "segment": 20}, dense=("time",), embedding={"ad": 6, "segment": 3})
QUICK = ultr.Training(steps=30, batch_pages=128, check_every=10, learning_rate=0.02, validation=0.1, weight_decay=1e-5)
AUXILIARY = ("first", "linear")
ESTIMATORS = [SharedBottom, MMoE, PLE, HoME, NATAL, MoAE]
SHAPE = Shape(sizes=(5, 4), lengths=(6, 3), n_dense=2, heads=(1, 1, 1), experts=2, expert=7, tower=(5, 4))
CODES, NUMBERS = torch.tensor([[0, 1], [3, 2], [4, 0], [1, 1]]), torch.randn(4, 2, generator=torch.Generator().manual_seed(0))


def settings(**changes):
    return {"main": "last", "auxiliary": AUXILIARY, "fields": FIELDS, "expert": 16, "tower": (12, 8), "training": QUICK, **changes}


def made(kind, shape=SHAPE, seed=0, **more):
    """A network with parameters that are not at their start: heads and biases are random too."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = kind(shape, **more)
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    return network


# The parts


def test_experts_side_by_side_are_experts_one_by_one():
    """Squeeze to the mean of a field, gate the field, linear, ReLU: written out for each expert."""
    experts = made(lambda shape: Experts(3, shape))
    z = torch.randn(4, 11, generator=torch.Generator().manual_seed(1))
    found, apart = experts(z), experts(z.expand(3, *z.shape))
    squeezed = torch.stack([z[:, :6].mean(1), z[:, 6:9].mean(1)], 1)
    gate = torch.sigmoid(torch.relu(squeezed @ experts.down[0]) @ experts.up[0])
    gated = torch.cat([z[:, :6] * gate[:, :1], z[:, 6:9] * gate[:, 1:], z[:, 9:]], 1)
    for e in range(3):
        torch.testing.assert_close(found[:, e], torch.relu(gated @ experts.weight[e] + experts.bias[e]))
        torch.testing.assert_close(apart[:, e], found[:, e])


def test_gates_are_shares_and_mixtures_weighted_sums():
    network = made(PLENetwork)
    z = network.embed(CODES, NUMBERS)
    gate = network.gates(z)
    assert (gate >= 0).all()
    torch.testing.assert_close(gate.sum(-1), torch.ones(4, 3))
    experts = network.experts(z)  # 2 public, 2 for each of three views
    mixed = mixture(among_all(gate, 2), experts)
    for v in range(3):
        own = [experts[:, e] for e in (0, 1, 2 + 2 * v, 3 + 2 * v)]
        torch.testing.assert_close(mixed[:, v], sum(gate[:, v, k, None] * expert for k, expert in enumerate(own)))


@pytest.mark.parametrize("kind", [MMoENetwork, PLENetwork, MoAENetwork])
@pytest.mark.parametrize("fields", [{}, {"n_dense": 0}, {"sizes": (), "lengths": ()}], ids=["both", "embedded", "dense"])
def test_mixed_experts_are_mixtures_of_experts(monkeypatch, kind, fields):
    """Piece by piece, the last one shorter: outputs and all gradients of the parts put together."""
    monkeypatch.setattr(expert_mixture, "_PIECE", 3)
    network = made(kind, dataclasses.replace(SHAPE, **fields)).double()
    z = torch.randn(8, network.shape.width, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    wanted = torch.randn(8, 3, 7, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = mixed_experts(network.experts, network.gates, z, 2)
    plain = mixture(among_all(network.gates(z), 2), network.experts(z))
    torch.testing.assert_close(found, plain)
    tensors = [z, *network.experts.parameters(), *network.gates.parameters()]
    for a, b in zip(*(torch.autograd.grad((x * wanted).sum(), tensors) for x in (found, plain)), strict=True):
        torch.testing.assert_close(a, b)


def test_mixed_experts_in_half_precision():
    network = made(PLENetwork)
    z = network.embed(CODES, NUMBERS)
    with torch.autocast("cpu", torch.bfloat16):
        half = mixed_experts(network.experts, network.gates, z, 2)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), mixed_experts(network.experts, network.gates, z, 2), rtol=0.1, atol=0.1)


# Reductions between networks


def test_one_expert_makes_mmoe_the_shared_bottom():
    shape = dataclasses.replace(SHAPE, experts=1)
    one, shared = made(MMoENetwork, shape), made(SharedBottomNetwork, shape)
    shared.load_state_dict({n.replace("experts.", "expert."): t for n, t in one.state_dict().items() if not n.startswith("gates")})
    for a, b in zip(one(CODES, NUMBERS), shared(CODES, NUMBERS), strict=True):
        torch.testing.assert_close(a, b)
    torch.nn.init.normal_(one.gates.weight)  # what gates say is irrelevant
    torch.testing.assert_close(one(CODES, NUMBERS)[0], shared(CODES, NUMBERS)[0])


def test_permuting_experts_with_their_gate_columns_changes_nothing():
    network = made(MMoENetwork)
    before = network(CODES, NUMBERS)
    with torch.no_grad():
        for part in (network.experts.weight, network.experts.bias):
            part.copy_(part.flip(0))
        network.gates.weight.copy_(network.gates.weight.flip(2))
    for a, b in zip(before, network(CODES, NUMBERS), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("kind", [NATALNetwork, MoAENetwork])
def test_without_fusion_the_main_tower_is_one_like_the_others(kind):
    """F_k = 0 leaves h_k = ReLU(u_k): the output of plain towers."""
    network = made(kind)
    for fusion in network.towers.fusion:
        torch.nn.init.zeros_(fusion.weight)
        torch.nn.init.zeros_(fusion.bias)
    z = network.embed(CODES, NUMBERS)
    x = network.expert(z).expand(4, 3, 7) if kind is NATALNetwork else mixture(among_all(network.gates(z), 2), network.experts(z))
    plain = network.towers.layers(x)
    for v, seen in enumerate(network.views(z)):
        torch.testing.assert_close(seen, plain[v])


@pytest.mark.parametrize("kind", [NATALNetwork, MoAENetwork])
def test_fusion_runs_one_way_and_a_block_of_zeros_removes_a_view(kind):
    network = made(kind)
    before = network(CODES, NUMBERS)
    with torch.no_grad():
        for layer in network.towers.layers.weight:
            layer[0] += 1.0  # the main tower's own weights
    after = network(CODES, NUMBERS)
    assert not torch.allclose(before[0], after[0])
    for v in (1, 2):
        torch.testing.assert_close(before[v], after[v])
    with torch.no_grad():
        for k, fusion in enumerate(network.towers.fusion):
            width = SHAPE.tower[k]
            fusion.weight[:, 2 * width : 3 * width] = 0  # the second auxiliary view
    removed = network(CODES, NUMBERS)[0]
    with torch.no_grad():
        for layer in network.towers.layers.weight:
            layer[2] += 1.0
    torch.testing.assert_close(network(CODES, NUMBERS)[0], removed)


@pytest.mark.parametrize("kind", [NATALNetwork, MoAENetwork])
@pytest.mark.parametrize("detach", [False, True])
def test_the_main_loss_reaches_auxiliary_layers_but_not_their_heads(kind, detach):
    network = made(kind, detach=detach)
    network(CODES, NUMBERS)[0].sum().backward()
    for head in network.heads[1:]:
        assert head.weight.grad is None
    reached = [bool(layer.grad[1:].abs().sum() > 0) for layer in network.towers.layers.weight]
    assert reached == [not detach] * 2


# Gradients


def test_pcgrad_takes_the_opposing_part_tensor_by_tensor():
    main = [torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0]), None]
    other = [torch.tensor([-2.0, 3.0]), torch.tensor([2.0, -1.0]), torch.tensor([5.0])]
    found = projected(other, main)
    torch.testing.assert_close(found[0], torch.tensor([0.0, 3.0]))  # -2 along the main one is gone
    torch.testing.assert_close(found[1], other[1])  # already in agreement
    assert found[2] is other[2]
    for a, b in zip(found[:2], main[:2], strict=True):
        assert float((a * b).sum()) >= -1e-6


def test_gcs_weights_by_the_sigmoid_of_the_cosine():
    main = [torch.tensor([3.0, 0.0]), torch.tensor([4.0])]
    for other, cosine in (([torch.tensor([6.0, 0.0]), torch.tensor([8.0])], 1.0), ([torch.tensor([-3.0, 0.0]), torch.tensor([-4.0])], -1.0),
                          ([torch.tensor([0.0, 2.0]), torch.tensor([0.0])], 0.0)):  # fmt: skip
        factor = 1 / (1 + np.exp(-cosine))
        for found, given in zip(scaled(other, main), other, strict=True):
            torch.testing.assert_close(found, given * factor)


@pytest.mark.parametrize("how", ["sum", "pcgrad", "gcs"])
def test_the_mean_of_the_joined_loss_has_the_joined_gradient(how):
    rng = torch.Generator().manual_seed(3)
    w, x = torch.randn(3, generator=rng, requires_grad=True), torch.randn(6, 3, generator=rng)
    labels = torch.randn(6, 2, generator=rng)
    main, other = ((x @ w) - labels[:, 0]).square(), ((x @ w) + 3 * labels[:, 1]).abs()
    value = joined(main, [other], [0.7], [w], how)
    torch.testing.assert_close(value, main + 0.7 * other)
    (found,) = torch.autograd.grad(value.mean(), w, retain_graph=True)
    g, a = (torch.autograd.grad(loss.mean(), w, retain_graph=True)[0] for loss in (main, other))
    changed = {"sum": [a], "pcgrad": projected([a], [g]), "gcs": scaled([a], [g])}[how][0]
    torch.testing.assert_close(found, g + 0.7 * changed)


# Labels


def test_the_joint_label_is_a_class_for_each_combination():
    soft = read_credits(LOG, SharedBottom(**settings()))
    np.testing.assert_allclose(soft, np.stack([LOG.columns[n] for n in ("last", *AUXILIARY)], 1), rtol=1e-6)
    binary = read_credits(LOG, SharedBottom(**settings(labels="binary")))
    np.testing.assert_array_equal(binary, soft > 0)
    joint = (soft > 0) @ (1 << np.arange(3))
    for v in range(3):
        np.testing.assert_array_equal(joint >> v & 1, binary[:, v])


def test_soft_labels_are_fitted_to_their_mean_and_binary_ones_to_any_credit():
    """Intercept only: one ad, so the fit of each view is the mean of its labels, .2 or .4 for 0, 0, 0, .5, .25, .25 ..."""
    share = np.tile([0, 0, 0, 0.5, 0.5, 0, 0, 0, 0, 1.0], 100)
    columns = {"item": np.zeros(1000, dtype=int), "credit": share, "ad": np.zeros(1000, dtype=int)}
    log = ultr.ClickLog(np.arange(1001), columns, {"user": np.arange(1000)})
    training = ultr.Training(steps=200, batch_pages=2000, learning_rate=0.02, validation=0.0, weight_decay=0.0)
    for labels, mean in (("soft", share.mean()), ("binary", (share > 0).mean())):
        fitted = SharedBottom(main="credit", labels=labels, fields=Fields(categorical={"ad": 2}), training=training).fit(log)
        np.testing.assert_allclose(fitted.predict(log)["credit"], mean, atol=0.01)


# Estimators


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_fit_predict_save_and_load(kind, tmp_path):
    fitted = kind(**settings()).fit(LOG)
    frame = fitted.predict(LOG)
    assert list(frame) == ["last", *AUXILIARY]
    assert ((frame > 0) & (frame < 1)).all().all()
    applied = fitted.apply(LOG)
    np.testing.assert_array_equal(applied.columns["predicted_last"], frame["last"])
    fitted.save(tmp_path / "model")
    again = ultr.load(tmp_path / "model")
    np.testing.assert_array_equal(again.predict(LOG), frame)
    assert again.rules == fitted.rules
    np.testing.assert_array_equal(kind(**settings()).fit(ultr.data.source.Chunked(LOG, 7)).predict(LOG), frame)


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_a_parameter_count_is_met_whatever_the_network(kind):
    for wanted in (3000, 20_000):
        found = kind(**settings(parameters=wanted)).fit(LOG).n_parameters
        assert abs(found - wanted) < 0.15 * wanted


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_the_order_of_pages_and_other_columns_decide_little(kind):
    """The vocabulary and the numbers do not depend on the order; batches do, so the fits are near, not equal."""
    order = np.random.default_rng(0).permutation(len(LOG))
    whole = dataclasses.replace(QUICK, batch_pages=10**6, validation=0.0, steps=6)  # rounding grows from step to step
    a, b = (kind(**settings(training=whole)).fit(log).predict(LOG) for log in (LOG, LOG.take(order)))
    np.testing.assert_allclose(a, b, atol=1e-4)


CHANGES = {
    "main": "first",
    "auxiliary": ("linear",),
    "fields": Fields(categorical={"ad": "vocabulary"}),
    "labels": "binary",
    "cartesian": True,
    "auxiliary_weight": 2.0,
    "expert": 5,
    "tower": (3,),
    "parameters": 2000,
    "training": dataclasses.replace(QUICK, steps=10, validation=0.0),
}
TO_THE_END = {"training": dataclasses.replace(QUICK, validation=0.0)}  # keeps the last weights, not those of the start


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_every_setting_has_an_effect(kind):
    changes = dict(CHANGES)
    if kind in (MMoE, PLE, HoME, MoAE):
        changes["experts"] = 3
    if kind in (NATAL, MoAE):
        changes["detach"] = True
    base = kind(**settings(main="last", auxiliary=("linear", "u_shaped"), **TO_THE_END))
    names = {field.name for field in dataclasses.fields(base)}
    assert names - set(changes) <= {"gradient", "experts"}  # one expert in SharedBottom and NATAL; gradients are tested below
    score = base.fit(LOG).predict(LOG).iloc[:, 0]
    for name, value in changes.items():
        assert not np.allclose(dataclasses.replace(base, **{name: value}).fit(LOG).predict(LOG).iloc[:, 0], score, rtol=1e-5), name


@pytest.mark.parametrize("how", ["pcgrad", "gcs"])
def test_ways_to_join_gradients_change_the_fit_and_use_the_weights(how):
    base = MoAE(**settings(auxiliary=("first",), auxiliary_weight=3.0, gradient=how, **TO_THE_END))
    found = base.fit(LOG).predict(LOG)["last"]
    assert not np.allclose(found, dataclasses.replace(base, gradient="sum").fit(LOG).predict(LOG)["last"], rtol=1e-5)
    assert not np.allclose(found, dataclasses.replace(base, auxiliary_weight=0.1).fit(LOG).predict(LOG)["last"], rtol=1e-5)


def test_weights_by_name_and_no_weight_is_no_view():
    named = MoAE(**settings(auxiliary_weight={"first": 0.3, "linear": 0.3})).fit(LOG).predict(LOG)
    np.testing.assert_array_equal(named, MoAE(**settings()).fit(LOG).predict(LOG))
    shared = {"training": dataclasses.replace(QUICK, weight_decay=0.0)}
    without = SharedBottom(**settings(auxiliary_weight=0.0, **shared)).fit(LOG).predict(LOG)["last"]
    other = SharedBottom(**settings(auxiliary=("first", "u_shaped"), auxiliary_weight=0.0, **shared)).fit(LOG).predict(LOG)["last"]
    np.testing.assert_array_equal(without, other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"auxiliary": ("last",)}, "'last' is named twice"),
        ({"labels": "hard"}, "labels must be 'soft' or 'binary'"),
        ({"gradient": "mean"}, "gradient must be one of sum, pcgrad, gcs"),
        ({"auxiliary": (), "cartesian": True}, "there is no auxiliary one"),
        ({"experts": 0}, "experts must be a whole number"),
        ({"expert": 1.5}, "expert must be a whole number"),
        ({"tower": (0,)}, "towers are hidden layer widths"),
        ({"parameters": 0}, "parameters must be a whole number"),
        ({"auxiliary_weight": -1}, "auxiliary_weight must be at least 0"),
        ({"auxiliary_weight": {"frist": 1.0, "linear": 1.0}}, r"names 'frist', which is no auxiliary view. Did you mean 'first'"),
        ({"auxiliary_weight": {"first": 1.0}}, "has no weight of 'linear'"),
        ({"fields": {"ad": 5}}, "fields says which columns to read"),
        ({"cartesian": "yes"}, "cartesian must be True or False"),
        ({"detach": "x"}, "detach must be True or False"),
        ({"training": {"steps": 3}}, "training must be ultr.Training"),
        ({"main": 3}, "main and auxiliary are names of columns"),
        ({"auxiliary": None}, "auxiliary is a list of column names, \\(\\) for none, not None"),
        ({"fields": Fields(dense=("time", "first"))}, "'first' is what it predicts"),
    ],
)  # fmt: skip
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        MoAE(**settings(**change))


@pytest.mark.parametrize("how", ["pcgrad", "gcs"])
def test_dense_fields_alone_and_a_column_of_an_unlucky_name(how):
    dense = MoAE(**settings(fields=Fields(dense=("time",)), gradient=how)).fit(LOG)
    assert list(dense.predict(LOG)) == ["last", *AUXILIARY]
    named = LOG.with_columns(cartesian=LOG.columns["first"])
    found = SharedBottom(**settings(auxiliary=("cartesian", "linear"))).fit(named)
    assert found.rules == ("last", "cartesian", "linear")
    with pytest.raises(ConfigError, match="'cartesian' is the name of the joint view"):
        MoAE(**settings(auxiliary=("cartesian", "linear"), cartesian=True))


def test_weight_decay_leaves_the_level_of_a_label_alone():
    columns = {"item": np.zeros(500, dtype=int), "credit": np.full(500, 0.02), "ad": np.arange(500) % 5}
    log = ultr.ClickLog(np.arange(501), columns, {"user": np.arange(500)})
    training = ultr.Training(steps=100, batch_pages=500, learning_rate=0.02, validation=0.0, weight_decay=0.1)
    fitted = SharedBottom(main="credit", fields=Fields(categorical={"ad": 5}), training=training).fit(log)
    np.testing.assert_allclose(fitted.predict(log)["credit"], 0.02, rtol=0.05)


def test_matrices_side_by_side_are_projected_one_by_one():
    main, other = (
        torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0)),
        torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(1)),
    )
    other[0] -= 2 * main[0]  # against the main gradient in the first matrix, along it in the second
    other[1] += 2 * main[1]
    (found,) = projected([other], [main])
    assert abs(float((found[0] * main[0]).sum())) < 1e-5
    torch.testing.assert_close(found[1], other[1])


def test_fits_that_came_to_nothing_are_called_out():
    heavy = dataclasses.replace(QUICK, weight_decay=100.0, validation=0.0, steps=200)
    with pytest.warns(ultr.errors.UltrWarning, match="predictions hardly differ from row to row. weight_decay=100 may be too strong"):
        MoAE(**settings(training=heavy)).fit(LOG)
    wild = dataclasses.replace(QUICK, learning_rate=5.0, steps=10, check_every=5)
    with pytest.warns(ultr.errors.UltrWarning, match="no step had a lower held-out loss"):
        MoAE(**settings(training=wild)).fit(LOG)


def test_logs_that_teach_nothing_are_refused():
    with pytest.raises(LogError, match=r"MoAE needs the column 'lost'.*log.with_columns\(lost=LastTouch"):
        MoAE(**settings(main="lost")).fit(LOG)
    with pytest.raises(LogError, match=r"last must be a credit in \[0, 1\]"):
        MoAE(**settings()).fit(LOG.with_columns(last=-LOG.columns["last"]))
    with pytest.raises(LogError, match="first is 0 on all"):
        MoAE(**settings()).fit(LOG.with_columns(first=np.zeros(LOG.n_rows)))
    with pytest.raises(ConfigError, match="parameters=10 is too few"):
        MoAE(**settings(parameters=10)).fit(LOG)
    assert list(itertools.islice(LOG.columns, 2)) == ["item", "ad"]
