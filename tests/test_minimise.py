"""The training loop: optimisers by hand on a quadratic, early stopping on made-up validation losses, and everything it refuses."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from ultr.errors import ConfigError, ContractError
from ultr.training import Training
from ultr.training.minimise import minimise


class Number(nn.Module):
    """A network that is one number, and a buffer that counts how often it was read."""

    def __init__(self, start=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(start, dtype=torch.float64))
        self.register_buffer("reads", torch.zeros((), dtype=torch.int64))

    def forward(self):
        self.reads += 1
        return self.weight


TARGETS = [1.0, -2.0, 0.5, 3.0]
PLAIN = {"weight_decay": 0.0, "gradient_clip": None, "schedule": "constant", "patience": None}


def batches(targets=TARGETS):
    """One page a batch, of weight 1."""
    return [(torch.tensor([target], dtype=torch.float64), torch.ones(1, dtype=torch.float64)) for target in targets]


def fit(network, targets=TARGETS, validate=None, **settings):
    """Minimise half the squared distance of the number to each target in turn."""
    return minimise([network], batches(targets), lambda t: 0.5 * (network() - t) ** 2, validate, Training(**{**PLAIN, **settings}))


def adam_by_hand(weight, steps, rate, decay=0.0, clip=math.inf, schedule="constant", fresh=False):
    m = v = 0.0
    for step in range(1, steps + 1):
        if fresh:
            m, v, at = 0.0, 0.0, 1
        else:
            at = step
        gradient = weight - TARGETS[(step - 1) % len(TARGETS)]
        gradient *= min(1.0, clip / (abs(gradient) + 1e-6))
        gradient += decay * weight
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        now = rate * (1 - (step - 1) / steps) if schedule == "linear" else rate
        weight -= now * (m / (1 - 0.9**at)) / (math.sqrt(v / (1 - 0.999**at)) + 1e-8)
    return weight


def adagrad_by_hand(weight, steps, rate):
    total = 0.1
    for step in range(steps):
        gradient = weight - TARGETS[step % len(TARGETS)]
        total += gradient**2
        weight -= rate * gradient / (math.sqrt(total) + 1e-10)
    return weight


# Optimisers


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_adam_by_hand(steps):
    network = Number(0.3)
    fit(network, steps=steps, learning_rate=0.1)
    assert network.weight.item() == pytest.approx(adam_by_hand(0.3, steps, 0.1), rel=1e-9)


def test_the_optimiser_keeps_its_state_over_the_steps():
    network = Number(0.3)
    fit(network, steps=2, learning_rate=0.1)
    assert (
        abs(network.weight.item() - adam_by_hand(0.3, 2, 0.1, fresh=True)) > 0.01
    )  # an optimiser made anew at each step: 0.1 times a sign


@pytest.mark.parametrize("steps", [1, 5])
def test_adagrad_by_hand(steps):
    network = Number(0.3)
    fit(network, steps=steps, learning_rate=0.1, optimizer="adagrad")
    assert network.weight.item() == pytest.approx(adagrad_by_hand(0.3, steps, 0.1), rel=1e-9)


def test_the_learning_rate_falls_in_a_line_to_zero():
    network = Number(0.3)
    fit(network, steps=5, learning_rate=0.1, schedule="linear")
    assert network.weight.item() == pytest.approx(adam_by_hand(0.3, 5, 0.1, schedule="linear"), rel=1e-9)


def test_weight_decay_adds_the_weight_to_the_gradient():
    network = Number(0.3)
    fit(network, steps=5, learning_rate=0.1, weight_decay=0.7)
    assert network.weight.item() == pytest.approx(adam_by_hand(0.3, 5, 0.1, decay=0.7), rel=1e-9)


def test_weight_decay_shrinks_the_first_network_only():
    networks = [Number(1.0), Number(1.0)]
    minimise(networks, batches(), lambda t: 0 * (networks[0]() + networks[1]() + t), None, Training(steps=3, weight_decay=0.5))
    assert networks[0].weight.item() < 0.99
    assert networks[1].weight.item() == 1


def test_gradients_are_clipped_by_norm_for_each_network_on_its_own():
    steep, flat = nn.Linear(2, 1, bias=False).double(), Number(0.0)
    nn.init.zeros_(steep.weight)
    slope = torch.tensor([30.0, 40.0], dtype=torch.float64)

    def loss(page):
        return steep(slope).reshape(1) + 0.5 * flat() + 0 * page

    training = Training(**{**PLAIN, "gradient_clip": 1.0}, steps=1, optimizer="adagrad", learning_rate=1.0)
    minimise([steep, flat], batches(), loss, None, training)
    expected = [-g / math.sqrt(0.1 + g * g) for g in (0.6, 0.8)]  # a gradient (30, 40) of norm 50 becomes (.6, .8)
    np.testing.assert_allclose(steep.weight.detach()[0], expected, rtol=1e-6)
    assert flat.weight.item() == pytest.approx(-0.5 / math.sqrt(0.1 + 0.25))


def test_the_step_minimises_the_weighted_mean_over_pages():
    network = Number(0.0)
    pages = (torch.tensor([1.0, -2.0], dtype=torch.float64), torch.tensor([3.0, 0.5], dtype=torch.float64))
    training = Training(**PLAIN, steps=1, optimizer="adagrad", learning_rate=1.0)
    curve = minimise([network], [pages], lambda t: 0.5 * (network() - t) ** 2, None, training)
    gradient = (3 * -1 + 0.5 * 2) / 2
    assert network.weight.item() == pytest.approx(-gradient / math.sqrt(0.1 + gradient**2))
    assert curve.train == [(1, pytest.approx((3 * 0.5 + 0.5 * 2) / 2))]


def test_of_a_pair_the_first_is_minimised_and_the_second_watched():
    network = Number(0.3)
    training = Training(**PLAIN, steps=2, learning_rate=0.1)
    curve = minimise([network], batches(), lambda t: (0.5 * (network() - t) ** 2, 100 + t), None, training)
    assert network.weight.item() == pytest.approx(adam_by_hand(0.3, 2, 0.1), rel=1e-9)
    assert curve.train == [(2, pytest.approx(100 + (TARGETS[0] + TARGETS[1]) / 2))]


def test_batches_are_iterated_over_again():
    network = Number(0.3)
    fit(network, steps=11, learning_rate=0.1)
    assert network.weight.item() == pytest.approx(adam_by_hand(0.3, 11, 0.1), rel=1e-9)


# Looking at held-out pages


def watched(network, losses):
    """A validation that goes through made-up losses and remembers the weights it was shown."""
    seen, left = [], iter(losses)

    def validate():
        seen.append(network.weight.item())
        return next(left)

    return validate, seen


def test_early_stopping_restores_the_best_weights():
    network = Number(0.0)
    validate, seen = watched(network, [5.0, 3.0, 2.0, 4.0, 2.0, 9.0])
    curve = fit(network, validate=validate, steps=10, check_every=2, learning_rate=0.1)
    assert curve.validation == [(0, 5.0), (2, 3.0), (4, 2.0), (6, 4.0), (8, 2.0), (10, 9.0)]
    assert curve.best_step == 4  # the first of equals
    assert curve.best == 2.0
    assert network.weight.item() == seen[2] != seen[-1]
    assert network.reads.item() == 4  # buffers go back too


def test_the_weights_before_the_first_step_can_be_the_best():
    network = Number(0.25)
    curve = fit(network, validate=watched(network, [1.0, 2.0, 3.0])[0], steps=2, check_every=1, learning_rate=0.1)
    assert (curve.best_step, network.weight.item()) == (0, 0.25)


@pytest.mark.parametrize(("patience", "last"), [(1, 4), (2, 6), (None, 12)])
def test_patience_counts_looks_without_a_better_loss(patience, last):
    network = Number(0.0)
    validate, _ = watched(network, [5.0, 3.0, 4.0, 4.0, 4.0, 4.0, 4.0])
    curve = fit(network, validate=validate, steps=12, check_every=2, patience=patience)
    assert curve.validation[-1][0] == last
    assert curve.best_step == 2


def test_without_held_out_pages_the_last_weights_are_kept_and_patience_does_nothing():
    network = Number(0.3)
    curve = fit(network, steps=9, check_every=2, patience=1, learning_rate=0.1)
    assert (curve.best_step, curve.best, curve.validation) == (9, math.inf, [])
    assert network.weight.item() == pytest.approx(adam_by_hand(0.3, 9, 0.1))


def test_a_training_value_is_the_mean_since_the_one_before():
    network = Number(0.0)
    curve = fit(network, steps=5, check_every=2, learning_rate=1e-12)
    half_squares = [0.5 * t * t for t in [*TARGETS, TARGETS[0]]]
    assert [step for step, _ in curve.train] == [2, 4, 5]
    means = [np.mean(half_squares[:2]), np.mean(half_squares[2:4]), half_squares[4]]
    np.testing.assert_allclose([value for _, value in curve.train], means)


@pytest.mark.parametrize(("target", "best"), [(0.0, 5.0), (10.0, 0.0)])
def test_of_several_weight_decays_the_best_on_validation_is_kept(target, best):
    network = Number(8.0)
    curve = fit(
        network,
        [10.0],
        lambda: abs(network.weight.item() - target),
        steps=40,
        weight_decay=(0.5, 5.0, 0.0),
        learning_rate=0.3,
        check_every=5,
    )
    assert curve.weight_decay == best
    alone = Number(8.0)  # each starts where the first did
    fit(alone, [10.0], lambda: abs(alone.weight.item() - target), steps=40, weight_decay=best, learning_rate=0.3, check_every=5)
    assert network.weight.item() == alone.weight.item()


def test_choosing_a_weight_decay_needs_held_out_pages():
    with pytest.raises(ConfigError, match="Choosing a weight_decay needs held-out queries"):
        fit(Number(), weight_decay=(0.0, 1.0))


# What is refused


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_stops_being_finite_is_an_error(bad):
    network = Number()
    with pytest.raises(ContractError, match=r"loss stopped being finite within 5 steps before step 10: lower learning_rate \(0.02\)"):
        fit(network, [1.0] * 6 + [bad] + [1.0] * 5, steps=20, check_every=5)


def test_a_validation_loss_that_is_not_finite_is_an_error():
    network = Number()
    with pytest.raises(ContractError, match="validation loss stopped being finite"):
        fit(network, validate=watched(network, [1.0, math.nan])[0], steps=20, check_every=5)


def test_a_loss_of_the_wrong_shape_is_an_error():
    network = Number()
    with pytest.raises(ContractError, match=r"one value a page, shape \(1,\), not \(\)"):
        minimise([network], batches(), lambda t: network() - t.sum(), None, Training())


def test_no_batch_is_an_error_and_not_an_endless_loop():
    with pytest.raises(ContractError, match="no batch"):
        fit(Number(), [])
    network = Number()
    with pytest.raises(ContractError, match="re-iterable"):
        minimise([network], iter(batches()), lambda t: network() - t, None, Training())


# Precision


@pytest.mark.parametrize(("precision", "kind"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_precision_is_that_of_the_forward_pass_and_weights_stay_float32(precision, kind):
    network, kinds = nn.Linear(3, 1), set()

    def loss(page):
        out = network(page)
        kinds.add(out.dtype)
        return out.float()[:, 0] ** 2

    minimise([network], [(torch.ones(2, 3), torch.ones(2))], loss, None, Training(steps=2, precision=precision))
    assert kinds == {kind}
    assert network.weight.dtype == torch.float32


# Settings


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("steps", 0),
        ("steps", 1.5),
        ("steps", True),
        ("batch_pages", -1),
        ("check_every", 0),
        ("patience", 0),
        ("optimizer", "sgd"),
        ("schedule", "cosine"),
        ("precision", "float16"),
        ("learning_rate", 0),
        ("learning_rate", math.nan),
        ("gradient_clip", -1.0),
        ("weight_decay", -0.1),
        ("weight_decay", ()),
        ("weight_decay", (0.1, math.inf)),
        ("validation", 1.0),
        ("validation", -0.1),
    ],
)
def test_impossible_settings_are_refused_by_name(setting, value):
    with pytest.raises(ConfigError, match=f"Training: {setting} .*"):
        Training(**{setting: value})


def test_several_weight_decays_need_a_validation_share():
    with pytest.raises(ConfigError, match="needs held-out queries"):
        Training(weight_decay=[0.0, 0.1], validation=0)
    assert Training(weight_decay=[0.0, 0.1]).weight_decays == (0.0, 0.1)


def test_a_device_that_is_not_there_is_named():
    assert Training().usable_device() == "cpu"
    assert Training(device=torch.device("cpu")) == Training()
    with pytest.raises(ConfigError, match="device 'gpu' cannot be used here"):
        Training(device="gpu").usable_device()
