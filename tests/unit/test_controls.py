"""The emulators that are made for comparison."""

import math

import numpy as np
import pytest
import torch

from sealiency.attribution.methods import build_method
from sealiency.config.data import Data, Files
from sealiency.config.emulator import Training, resolve_training
from sealiency.config.run import parse_configuration
from sealiency.data.samples import SampleWindows
from sealiency.emulators.controls import randomise
from sealiency.emulators.emulator import load_emulator
from sealiency.emulators.networks.densenet import DenseNet
from sealiency.emulators.training import train_and_save
from small_world import HISTORY, NETWORK, SAMPLES, TRAINING

EVERY = ["random", "shuffled", "unfiltered", "bottleneck"]


def train(record, folder, network=NETWORK, **settings):
    folder.mkdir(exist_ok=True)
    path = folder / "emulator.pt"
    settings = TRAINING.model_copy(update=settings)
    train_and_save(record, network, settings, SAMPLES, "code", 1, path, folder / "history.csv")
    return load_emulator(path)


def weights_of(emulator):
    return torch.cat([values.flatten() for values in emulator.network.parameters()])


@pytest.mark.parametrize("skip", ["none", "persistence"])
def test_random_weights_change_the_output_by_as_much_as_training_would_aim_at(record, tmp_path, skip):
    network = NETWORK.model_copy(update={"skip": skip})
    emulator = train(record, tmp_path, network, control="random", epochs=0)
    windows = SampleWindows(record.anomaly, emulator.lead, HISTORY)
    inputs, ocean = windows.inputs(record.training_samples), record.ocean
    with torch.no_grad():
        change = emulator.network.layers(inputs) - emulator.network.layers(torch.zeros_like(inputs[:1]))
    wanted = windows.targets(record.training_samples)
    wanted = wanted - windows.persistence(record.training_samples) if skip == "persistence" else wanted
    size, aim = ((values[..., ocean] ** 2).mean().sqrt().item() for values in (change[:, 0], wanted))
    assert size == pytest.approx(aim, rel=1e-4)


def test_random_weights_follow_from_the_seed_and_owe_nothing_to_targets(record, tmp_path):
    first = train(record, tmp_path / "a", control="random", epochs=0)
    again = train(record, tmp_path / "b", control="random", epochs=0)
    other = train(record, tmp_path / "c", control="random", epochs=0, seed=1)
    assert first.model_sha256 == again.model_sha256 != other.model_sha256
    assert not (tmp_path / "a" / "checkpoint.pt").exists()


def test_statistics_of_batch_normalisation_are_those_of_the_inputs(record):
    torch.manual_seed(0)
    network = DenseNet(NETWORK, HISTORY, tuple(record.ocean.shape), dropout=0.5)
    inputs = SampleWindows(record.anomaly, 2, HISTORY).inputs(record.training_samples)
    randomise(network, lambda: iter(inputs.split(8)), record.ocean, rms=1.0)
    assert not network.training
    with torch.no_grad():
        # The first normalised layer sees the stem alone, whose mean over batches of one size is that over all samples.
        stem = network.layers[0](inputs)
    norm = network.layers[1][0].norm
    torch.testing.assert_close(norm.running_mean, stem.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_random_weights_leave_the_linear_bottleneck_at_its_beginning(record, tmp_path):
    network = NETWORK.model_copy(update={"linear_bottleneck": True})
    emulator = train(record, tmp_path, network, control="random", epochs=0)
    assert not emulator.network.layers.downsampling[2].linear.weight.any()


def test_shuffled_targets_are_those_of_other_samples_of_the_same_period(record, tmp_path, monkeypatch):
    seen, order = {}, []
    original = SampleWindows.targets

    def targets(self, samples):
        order.extend(samples)
        for sample in list(samples):
            seen[sample] = seen.get(sample, 0) + 1
        return original(self, samples)

    monkeypatch.setattr(SampleWindows, "targets", targets)
    train(record, tmp_path, control="shuffled", epochs=1)
    split = record.split(TRAINING.lead, SAMPLES)
    assert set(seen) == {*split.training, *split.validation}
    # Once in training; in validation once, and once for persistence.
    assert {seen[sample] for sample in split.training} == {1}
    assert {seen[sample] for sample in split.validation} == {2}
    # Persistence asks for the validation samples in order, and gets the targets of others.
    assert order[: len(split.validation)] != list(split.validation)


def test_training_on_shuffled_targets_ends_elsewhere(record, tmp_path):
    plain = train(record, tmp_path / "plain")
    shuffled = train(record, tmp_path / "shuffled", control="shuffled")
    assert not torch.allclose(weights_of(plain), weights_of(shuffled))


def test_random_weights_depend_on_no_setting_of_the_optimiser():
    slow = resolve_training(Training(learning_rate=1e-5, epochs=9, dropout=0.1), 1, 0, "random")
    fast = resolve_training(Training(learning_rate=1e-2, epochs=3, dropout=0.2), 1, 0, "random")
    assert slow == fast
    assert slow.epochs == 0


def test_record_without_filter_has_its_season_taken_out_month_by_month():
    settings = Data(source="files", files=Files(paths=["a.nc"])).without_filter()
    assert (settings.filter, settings.climatology, settings.filter_width) == ("none", "monthly", 1)


@pytest.mark.parametrize(
    ("settings", "controls"),
    [
        ({}, EVERY),
        ({"data": {"filter": "none", "climatology": "monthly"}}, ["random", "shuffled", "bottleneck"]),
        ({"network": {"linear_bottleneck": True}}, ["random", "shuffled", "unfiltered"]),
    ],
)
def test_only_controls_that_differ_from_the_run_are_made(settings, controls):
    assert parse_configuration(settings | {"findings": {"controls": EVERY}}, "test").find_controls() == controls
    assert parse_configuration(settings, "test").find_controls() == ["random"]


# --- the linear bottleneck ---


def test_linear_bottleneck_begins_as_the_network_without_it(record):
    torch.manual_seed(3)
    without = DenseNet(NETWORK, HISTORY, (8, 10)).eval()
    network = DenseNet(NETWORK.model_copy(update={"linear_bottleneck": True}), HISTORY, (8, 10)).eval()
    missing, unexpected = network.load_state_dict(without.state_dict(), strict=False)
    assert not unexpected
    assert missing == ["layers.downsampling.2.linear.weight"]
    x = torch.randn(2, HISTORY, 8, 10)
    torch.testing.assert_close(network(x), without(x), rtol=0, atol=0)


def test_linear_bottleneck_of_the_paper_s_grid_has_as_many_weights_as_pairs_of_cells():
    plain, linear = (
        sum(values.numel() for values in DenseNet(settings, 36, (70, 125)).parameters())
        for settings in (
            NETWORK.model_copy(update={"stem_channels": 144, "growth_rate": 16, "dense_layers": (3, 6, 3)}),
            NETWORK.model_copy(
                update={
                    "stem_channels": 144,
                    "growth_rate": 16,
                    "dense_layers": (3, 6, 3),
                    "linear_bottleneck": True,
                }
            ),
        )
    )
    assert plain == 606_300
    assert linear - plain == (18 * 32) ** 2


@pytest.mark.parametrize("skip", ["none", "persistence"])
def test_engine_explains_the_linear_bottleneck_exactly_and_everywhere(build_network, skip):
    network = build_network((44, 50), linear_bottleneck=True, skip=skip)
    torch.manual_seed(1)
    torch.nn.init.normal_(network.layers.downsampling[2].linear.weight, std=0.1)
    network.eval()
    x = torch.randn(2, 4, 44, 50, dtype=torch.float64)
    method = build_method("deeplift", network, torch.zeros_like(x[:1]), 1e9, 8, "float64", (1, 7, 7))
    pixels = [0, 25 * 50 + 25]
    found = torch.zeros(2, 2, *x.shape[1:], dtype=torch.float64)
    for tile in method.tiles(x, pixels):
        for at, pixel in enumerate(tile.pixels):
            tile.window.cut(found[tile.samples, pixel]).copy_(tile.attributions[:, at])
    expected = method.output_difference(x)[:, pixels]
    torch.testing.assert_close(found.sum((2, 3, 4)), expected, rtol=1e-9, atol=1e-12)
    # The opposite corner is beyond the reach of the convolutions.
    assert found[:, 0, :, -1, -1].abs().min() > 0
    x.requires_grad_()
    # Where an input is alone with its baseline the rule is the difference quotient: hold it against the network itself.
    one = torch.zeros_like(x.detach()[:1])
    one[0, 2, 43, 49] = 1.5
    (tile,) = method.tiles(one, [0])
    quotient = (network(one) - network(torch.zeros_like(one)))[0, 0, 0, 0]
    assert tile.attributions[0, 0].sum().item() == pytest.approx(quotient.item(), rel=1e-9)
    assert not math.isclose(quotient.item(), 0, abs_tol=1e-15)


def test_training_uses_the_linear_bottleneck(record, tmp_path):
    emulator = train(record, tmp_path, NETWORK.model_copy(update={"linear_bottleneck": True}))
    weight = emulator.network.layers.downsampling[2].linear.weight
    assert np.abs(weight.detach().numpy()).max() > 0
