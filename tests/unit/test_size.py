"""What a network takes is read off its graph, once."""

import json

import pytest
import torch
from torch import nn

from sealiency.attribution import size
from sealiency.attribution.size import NetworkSize, find_size, measure_size
from sealiency.attribution.speed import PAPER_MULTIPLICATIONS
from sealiency.config.networks import DenseNetwork, DilatedNetwork, UNetwork
from sealiency.emulators.networks.registry import build_network
from sealiency.errors import SealiencyError

SMALL = DenseNetwork(stem_channels=8, growth_rate=3, dense_layers=(1, 2, 1))
CASES = [
    (DenseNetwork(), 36, (70, 125)),
    (SMALL, 6, (13, 22)),
    (DenseNetwork(stem_channels=9, growth_rate=5, dense_layers=(0, 1, 2), linear_bottleneck=True), 3, (8, 10)),
    (UNetwork(kind="unet"), 12, (17, 30)),
    (DilatedNetwork(kind="dilated", channels=8, dilations=(1, 2), whiten=True, linear_bottleneck=True), 12, (17, 30)),
    (
        UNetwork(kind="unet", channels=5, levels=2, activation="gelu", linear_bottleneck=True, skip="convolution"),
        4,
        (9, 8),
    ),
]


def count_by_hooks(network: nn.Module, history: int, grid: tuple[int, int]) -> dict[str, int]:
    """Count what the layers do in a forward pass of one sample."""
    found = {"multiplications": 0, "activations": 0}
    if (whitening := getattr(network, "whitening", None)) is not None:
        found["multiplications"] += whitening.matrix.numel() * grid[0] * grid[1]

    def count(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        if len(output) == 1:
            # What differs by place and not by sample is computed once.
            return
        if isinstance(module, nn.Conv2d):
            found["multiplications"] += output[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            found["multiplications"] += output[0].numel() * module.in_features
        else:
            found["activations"] += output[0].numel()

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.ReLU | nn.GELU):
            module.register_forward_hook(count)
    with torch.inference_mode():
        network.eval()(torch.zeros(2, history, *grid))
    return found


@pytest.mark.parametrize(("settings", "history", "grid"), CASES)
def test_size_is_that_of_the_network(settings, history, grid):
    network = build_network(settings, history, grid)
    found = measure_size(settings, history, grid)
    assert found.parameters == sum(values.numel() for values in network.parameters())
    expected = count_by_hooks(network, history, grid)
    assert {"multiplications": found.multiplications, "activations": found.activations} == expected
    assert found.functions == ("gelu" if getattr(settings, "activation", "") == "gelu" else "relu",)
    assert found.values > found.activations
    # Its settings are a key of the cache.
    assert {settings: found}[settings.model_copy()] == found


def test_the_papers_network_is_the_measure_of_speed():
    assert measure_size(*CASES[0]).multiplications == PAPER_MULTIPLICATIONS


def test_measuring_draws_no_random_number():
    state = torch.get_rng_state()
    measure_size(SMALL, 6, (13, 22))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    size._find_size.cache_clear()
    yield [tmp_path / ".snakemake", tmp_path / "cache"]
    size._find_size.cache_clear()


def test_an_answer_is_kept_and_read_again_without_the_network(folders, monkeypatch):
    folders[0].mkdir()
    expected = find_size(SMALL, 6, (13, 22))
    (local,), (home,) = (list(folder.rglob("*.json")) for folder in folders)
    assert local.read_text() == home.read_text()
    assert expected == measure_size(SMALL, 6, (13, 22))
    monkeypatch.setattr(size, "measure_size", lambda *_: pytest.fail("measured again"))
    for path in (local, home):
        size._find_size.cache_clear()
        assert find_size(SMALL, 6, (13, 22)) == expected
        path.unlink()
    size._find_size.cache_clear()
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        find_size(SMALL, 6, (13, 22))


def test_a_damaged_answer_is_measured_again(folders):
    find_size(SMALL, 6, (13, 22))
    (path,) = folders[1].rglob("*.json")
    for damage in ("{", "[]", json.dumps({"parameters": 1})):
        path.write_text(damage)
        size._find_size.cache_clear()
        assert isinstance(find_size(SMALL, 6, (13, 22)), NetworkSize)
        assert "multiplications" in path.read_text()


@pytest.mark.parametrize("network", [DenseNetwork(growth_rate=10**8), UNetwork(kind="unet", levels=10, channels=512)])
def test_a_network_that_no_machine_can_train_is_refused_without_its_memory(network):
    with pytest.raises(
        SealiencyError, match=r"^network: .* parameters, more than the 1e\+09 that can be trained; .* = "
    ):
        measure_size(network, 36, (70, 125))
