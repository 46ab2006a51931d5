import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest
import torch

from sealiency.config.networks import DenseNetwork
from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.emulator import Emulator, load_emulator, load_torch, save_torch
from sealiency.emulators.networks.densenet import DenseNet
from sealiency.emulators.training import train_and_save
from small_run import gather_years
from small_world import HISTORY, NETWORK, SAMPLES, TRAINING, disturb, make_sst, prepare_sst

hypothesis.settings.register_profile("light", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("light")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real fields that are not part of the project."""
    folder = Path(os.environ.get("SEALIENCY_SHARED_DATA", Path(__file__).parents[1] / "../shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set SEALIENCY_SHARED_DATA")
    return folder


@pytest.fixture(scope="session")
def sst_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of yearly files sst_YYYY.nc, one more than the runs use."""
    folder = tmp_path_factory.mktemp("sst")
    gather_years(folder)
    return folder


@pytest.fixture(scope="session")
def prepared_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared record of 8 x 10 cells, 3 of them land, trailing 3-month mean, 94 filtered months."""
    return prepare_sst(make_sst(), tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def record(prepared_path: Path) -> PreparedRecord:
    return PreparedRecord(prepared_path)


@pytest.fixture(scope="session")
def emulator_path(tmp_path_factory: pytest.TempPathFactory, record: PreparedRecord) -> Path:
    """Emulator of lead 2 on the prepared record: the file that training writes, with weights that move every layer."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("emulator")
    path = folder / "emulator.pt"
    settings = TRAINING.model_copy(update={"epochs": 1})
    train_and_save(record, NETWORK, settings, SAMPLES, "code", 1, path, folder / "training_history.csv")
    # A moment's training leaves forecasts near zero, which would hide errors.
    content = load_torch(path)
    network = disturb(DenseNet(NETWORK, HISTORY, tuple(record.ocean.shape)))
    save_torch(content | {"weights": network.state_dict()}, path)
    return path


@pytest.fixture
def emulator(emulator_path: Path) -> Emulator:
    # Attribution moves the network to its own precision, so every test loads its own.
    return load_emulator(emulator_path)


@pytest.fixture
def build_network() -> Callable[..., DenseNet]:
    """Return a function that builds a small network with random weights and statistics, in float64."""

    def build(grid: tuple[int, int] = (12, 14), history: int = 4, seed: int = 0, **settings) -> DenseNet:
        torch.manual_seed(seed)
        wanted = {"stem_channels": 12, "growth_rate": 4, "dense_layers": (2, 3, 2), **settings}
        return disturb(DenseNet(DenseNetwork(**wanted), history, grid).double(), seed)

    return build
