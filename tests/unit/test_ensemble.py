"""Emulators of several networks, whose mean is the forecast."""

import numpy as np
import pytest
import torch

import sealiency
from sealiency.config.networks import DilatedNetwork, parse_network
from sealiency.emulators.emulator import load_emulator
from sealiency.emulators.networks.ensemble import Ensemble
from sealiency.emulators.networks.registry import build_network
from sealiency.emulators.training import train_and_save, train_emulator
from small_world import HISTORY, SAMPLES, TRAINING, disturb

GRID = (9, 11)
SETTINGS = {"kind": "dilated", "channels": 6, "dilations": [1, 2], "whiten": True, "skip": "persistence"}


def build(**settings):
    torch.manual_seed(0)
    return disturb(build_network(parse_network({**SETTINGS, **settings}), HISTORY, GRID))


def test_the_forecast_is_the_mean_of_the_members():
    network = build(members=3)
    assert isinstance(network, Ensemble)
    x = torch.randn(2, HISTORY, *GRID, generator=torch.Generator().manual_seed(0))
    each = [forecast for forecast, _ in network.forecast_members(x)]
    assert len(each) == 3
    assert not torch.allclose(each[0], each[1])
    torch.testing.assert_close(network(x), torch.stack(each).mean(0))
    assert not isinstance(build(members=1), Ensemble)


@pytest.mark.parametrize("uncertainty", [False, True])
def test_its_attributions_are_the_mean_of_theirs(uncertainty):
    network = build(members=2, uncertainty=uncertainty).double()
    x = torch.randn(1, HISTORY, *GRID, generator=torch.Generator().manual_seed(0)).double()

    class Alone(torch.nn.Module):
        def __init__(self, member):
            super().__init__()
            self.network, self.member = network, member

        def forward(self, x):
            return self.network.forecast_members(x)[self.member][0]

    both = [sealiency.attribute(Alone(member).eval(), x, [(4, 5)]).values for member in range(2)]
    np.testing.assert_allclose(sealiency.attribute(network, x, [(4, 5)]).values, np.mean(both, 0), atol=1e-12)


def test_members_are_trained_each_by_itself(record, tmp_path):
    """The weights of one member are those that it gets beside another one."""

    def train(change):
        settings = TRAINING.model_copy(update={"epochs": 2})
        built = build_network

        def build_changed(*arguments):
            network = built(*arguments)
            with torch.no_grad():
                for parameter in network.members[1].parameters():
                    parameter += change
            return network

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sealiency.emulators.training_state.build_network", build_changed)
            found = train_emulator(
                *(record.anomaly, record.ocean, record.split(TRAINING.lead, SAMPLES), HISTORY),
                *(parse_network({**SETTINGS, "members": 2}), settings, tmp_path / f"{change}.pt", "same"),
            )
        return {name: values for name, values in found.weights.items() if name.startswith("members.0.")}

    # What is kept is chosen by the mean, so both are looked at after as many epochs.
    one, other = train(0.0), train(0.01)
    assert one.keys() == other.keys()
    for name, values in one.items():
        torch.testing.assert_close(other[name], values, rtol=1e-5, atol=1e-6)


def test_an_ensemble_begins_as_its_skip_and_is_read_back(record, tmp_path):
    settings = parse_network({**SETTINGS, "members": 2, "uncertainty": True})
    network = build_network(settings, HISTORY, GRID)
    x = torch.randn(2, HISTORY, *GRID, generator=torch.Generator().manual_seed(0))
    assert torch.equal(network.eval()(x)[:, 0], x[:, -1])
    train_and_save(record, settings, TRAINING, SAMPLES, "code", 1, tmp_path / "e.pt", tmp_path / "h.csv")
    emulator = load_emulator(tmp_path / "e.pt")
    assert len(emulator.network.members) == 2
    assert isinstance(settings, DilatedNetwork)
