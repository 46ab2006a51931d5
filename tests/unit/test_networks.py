"""Every kind of network: what it builds, how it starts, and how the user's own is taken."""

import pickle
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sealiency.attribution.engine import Engine
from sealiency.config.networks import KINDS, OwnNetwork, parse_network, resolve_network
from sealiency.emulators.controls import randomise
from sealiency.emulators.emulator import load_emulator, load_torch, save_torch
from sealiency.emulators.networks.forecaster import LinearBottleneck
from sealiency.emulators.networks.own import load_weights
from sealiency.emulators.networks.own_files import hash_code_of, hash_weights_of, list_code
from sealiency.emulators.networks.registry import CLASSES, build_network
from sealiency.emulators.training import train_and_save
from sealiency.errors import SealiencyError
from small_world import HISTORY, SAMPLES, TRAINING, disturb

CODE = """
from torch import nn

from sea_of_mine.parts import activation


def build(history, grid):
    return nn.Sequential(nn.Conv2d(history, 5, 3, padding=1), activation(), nn.Conv2d(5, 1, 3, padding=1))


def double(history, grid):
    return build(history, grid).double()


def two(history, grid):
    return nn.Conv2d(history, 2, 1)


def wide(history, grid):
    return nn.Conv2d(history + 1, 1, 1)


def nothing(history, grid):
    return None
"""
GRID = (13, 18)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Return the folder in which a user's package and weights lie, and Snakemake is started."""
    package = tmp_path / "sea_of_mine"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "parts.py").write_text("from torch.nn import GELU as activation\n")
    (package / "emulator.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("sea_of_mine")]:
        del sys.modules[name]


def own(function: str = "build", **settings) -> OwnNetwork:
    return OwnNetwork(kind="own", build=f"sea_of_mine.emulator:{function}", **settings)


SETTINGS = {
    "densenet": [{"stem_channels": 24, "growth_rate": 8, "dense_layers": [1, 1, 1], "whiten": True}],
    "unet": [
        {"channels": 6},
        {"channels": 4, "levels": 1},
        {"channels": 5, "levels": 4, "activation": "silu", "whiten": True},
    ],
    "dilated": [
        {"channels": 4, "dilations": [1, 2, 1], "whiten": True},
        {"channels": 3, "dilations": [5], "activation": "gelu"},
        {"channels": 3, "dilations": [1], "members": 3, "whiten": True, "level": False},
    ],
    "own": [{"build": "sea_of_mine.emulator:build"}],
}
CASES = [(kind, settings) for kind in KINDS for settings in SETTINGS[kind]]


def test_every_kind_has_its_class_and_is_tested():
    assert {parse_network({"kind": kind, **SETTINGS[kind][0]}).__class__ for kind in KINDS} == set(CLASSES)


@pytest.mark.parametrize(("kind", "settings"), CASES)
@pytest.mark.parametrize("skip", ["none", "persistence", "ridge", "convolution"])
def test_every_kind_is_explained_exactly(mine, kind, settings, skip):
    torch.manual_seed(0)
    network = build_network(
        parse_network({"kind": kind, "skip": skip, "skip_kernel": 3, **settings}), HISTORY, GRID, 0.5
    )
    x = torch.randn(2, HISTORY, *GRID, generator=torch.Generator().manual_seed(1))
    assert network.eval()(x).shape == (2, 1, *GRID)
    if skip in ("persistence", "convolution") and kind != "own":
        assert torch.equal(network(x)[:, 0], x[:, -1])
    network = disturb(network).double()
    x = x.double()
    engine = Engine(network, HISTORY, GRID, torch.float64)
    zero = torch.zeros_like(x[:1])
    pixels = [0, 5 * GRID[1] + 7]
    values, _ = engine.attribute(engine.linearise(x, zero, engine.observe(zero)), pixels)
    with torch.no_grad():
        change = (network(x) - network(zero)).flatten(1)[:, pixels]
    assert change.abs().min() > 0
    torch.testing.assert_close(values.sum((2, 3, 4)), change, rtol=1e-11, atol=1e-12)


def test_a_bottleneck_joins_every_cell_of_a_unet():
    network = build_network(parse_network({"kind": "unet", "channels": 3, "linear_bottleneck": True}), HISTORY, GRID)
    (layer,) = [module for module in network.modules() if isinstance(module, LinearBottleneck)]
    assert layer.linear.in_features == 4 * 5
    assert not layer.linear.weight.any()


def test_the_comparison_with_a_bottleneck_is_of_the_same_kind(mine):
    unet = resolve_network(parse_network({"kind": "unet"}), 1, bottleneck=True)
    assert unet.linear_bottleneck
    assert not resolve_network(unet.model_copy(update={"linear_bottleneck": False}), 1).linear_bottleneck
    assert resolve_network(own(weights={1: "a.pt", 6: "b.pt"}), 6).weights == "b.pt"


@pytest.mark.parametrize(("kind", "settings"), CASES)
def test_random_weights_give_outputs_of_the_size_asked_for(mine, kind, settings):
    network = build_network(parse_network({"kind": kind, **settings}), HISTORY, GRID)
    x = torch.randn(8, HISTORY, *GRID, generator=torch.Generator().manual_seed(1))
    ocean = torch.rand(GRID, generator=torch.Generator().manual_seed(2)) > 0.3
    before = {name: values.clone() for name, values in network.state_dict().items()}
    randomise(network, lambda: iter(x.split(4)), ocean, 0.7)
    with torch.no_grad():
        change = (network(x) - network(torch.zeros_like(x[:1])))[:, 0][:, ocean]
    assert change.pow(2).mean().sqrt() == pytest.approx(0.7, rel=1e-3)
    drawn = [name for name, values in network.named_parameters() if values.ndim > 1]
    assert all(not torch.equal(before[name], network.state_dict()[name]) for name in drawn)


def test_random_weights_of_a_network_with_its_own_way_around_keep_their_size(mine, caplog):
    (mine / "sea_of_mine" / "emulator.py").write_text(
        "from torch import nn\n"
        "class Build(nn.Module):\n"
        "    def __init__(self, history, grid):\n"
        "        super().__init__()\n"
        "        self.layer = nn.Conv2d(history, 1, 1)\n"
        "    def forward(self, x):\n"
        "        return x[:, -1:] + self.layer(x)\n"
    )
    network = build_network(own("Build"), HISTORY, GRID)
    x = torch.randn(8, HISTORY, *GRID, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(5)
    expected = nn.Conv2d(HISTORY, 1, 1).weight
    torch.manual_seed(5)
    randomise(network, lambda: iter(x.split(4)), torch.ones(GRID, dtype=torch.bool), 20.0)
    assert torch.equal(network.network.layer.weight, expected)
    assert "keep the size that they are drawn with" in caplog.text


# --- the user's own network ---


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("bild", "AttributeError: module 'sea_of_mine.emulator' has no attribute 'bild'"),
        ("double", r"has torch.float64 parameters; return network.float\(\)"),
        ("two", r"gives \(1, 2, 13, 18\) where \(1, 1, 13, 18\), one field, is wanted"),
        (
            "wide",
            r"an input of \(1, 6, 13, 18\) ends with RuntimeError: .*samples.history and data.region must be those",
        ),
        ("nothing", r"returned a NoneType; return a torch.nn.Module"),
    ],
)
def test_what_is_no_network_of_the_run_is_refused(mine, function, words):
    with pytest.raises(SealiencyError, match=rf"network.build = 'sea_of_mine.emulator:{function}'.*{words}"):
        build_network(own(function), HISTORY, GRID)


def test_code_is_found_without_executing_it(mine):
    (mine / "sea_of_mine" / "parts.py").write_text("raise SystemExit\n")
    assert [path.name for path in list_code("sea_of_mine.emulator:build")] == ["__init__.py", "emulator.py", "parts.py"]
    before = hash_code_of(own())
    (mine / "sea_of_mine" / "parts.py").write_text("raise SystemError\n")
    assert hash_code_of(own()) != before
    (mine / "alone.py").write_text("")
    assert [path.name for path in list_code("alone:build")] == ["alone.py"]
    for missing in ("nowhere:build", "sea_of_mine.other:build", "alone.part:build"):
        with pytest.raises(SealiencyError, match=r"no module .* start Snakemake where the code lies"):
            list_code(missing)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_weights_are_loaded_from(mine, suffix):
    weights = build_network(own(), HISTORY, GRID).network.state_dict()
    path = mine / f"weights{suffix}"
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    network = build_network(own(), HISTORY, GRID)
    load_weights(network, str(path))
    assert all(torch.equal(values, weights[name]) for name, values in network.network.state_dict().items())
    assert len(hash_weights_of(own(weights=str(path)))) == 64


class Trap:
    """What a file can hold that executes when it is opened."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('executed')",))


def test_weights_that_could_execute_or_do_not_fit_are_refused(mine):
    network = build_network(own(), HISTORY, GRID)
    torch.save(Trap(), "trap.pt")
    torch.save(network.network, "module.pt")
    (mine / "plain.pt").write_bytes(pickle.dumps(Trap(), protocol=2))
    torch.save({"state_dict": network.network.state_dict()}, "nested.pt")
    for name in ("trap.pt", "module.pt", "plain.pt", "nested.pt"):
        with pytest.raises(SealiencyError, match=rf"network.weights = '{name}': holds more than a state_dict"):
            load_weights(network, name)
    (mine / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(SealiencyError, match=r"broken.safetensors': cannot be read as safetensors"):
        load_weights(network, "broken.safetensors")
    torch.save({"0.weight": torch.zeros(2)}, "other.pt")
    with pytest.raises(SealiencyError, match=r"other.pt' does not fit network.build = .* Missing key"):
        load_weights(network, "other.pt")
    with pytest.raises(SealiencyError, match="no such file"):
        load_weights(network, "none.pt")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"build": "sea_of_mine.emulator"}, "name a module and a function in it"),
        ({"build": "a:b", "weights": "model.pt2"}, "opening one can execute code that it holds"),
        ({"build": "a:b", "weights": {1: "model.onnx"}}, "neither .pt, .pth nor .safetensors"),
    ],
)
def test_settings_of_an_own_network_that_cannot_be_are_refused(settings, words):
    with pytest.raises(ValueError, match=words):
        parse_network({"kind": "own", **settings})


def test_an_own_network_is_trained_from_its_weights_or_taken_as_it_is(mine, record, tmp_path):
    grid = (int(record.ocean.shape[0]), int(record.ocean.shape[1]))
    weights = build_network(own(), HISTORY, grid).network.state_dict()
    torch.save(weights, "weights.pt")
    network, path = own(weights="weights.pt"), tmp_path / "emulator.pt"
    for epochs in (0, 1):
        settings = TRAINING.model_copy(update={"epochs": epochs})
        train_and_save(record, network, settings, SAMPLES, "code", 1, path, tmp_path / "history.csv")
        found = load_emulator(path).network.state_dict()
        same = [torch.equal(found[f"network.{name}"], values) for name, values in weights.items()]
        assert all(same) == (epochs == 0)
    # Other code is another network, whatever the weights are.
    parts = mine / "sea_of_mine" / "parts.py"
    parts.write_text(parts.read_text().replace("GELU", "SiLU"))
    with pytest.raises(SealiencyError, match="the code of the network is another than it was made with"):
        load_emulator(path)
    save_torch(load_torch(path) | {"network_code_sha256": hash_code_of(network)}, path)
    assert load_emulator(path).network.network[1].__class__ is not None
