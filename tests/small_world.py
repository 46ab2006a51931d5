"""A small sea for the tests: 8 x 10 cells, some land, a few years, and an emulator that trains in a second."""

from collections.abc import Sequence
from pathlib import Path

import cftime
import numpy as np
import torch
import xarray as xr

from sealiency.config.data import Data, Files, Region, Samples
from sealiency.config.emulator import LeadTraining
from sealiency.config.networks import DenseNetwork
from sealiency.data.prepare import prepare_record
from sealiency.data.reading.record import open_record

HISTORY = 6
BOX = Region(south=40, north=48, west=-50, east=-40)
LAT, LON = np.arange(40.5, 48), np.arange(-49.5, -40)
SAMPLES = Samples(history=HISTORY, training=24, validation=10, test="rest")
NETWORK = DenseNetwork(stem_channels=8, growth_rate=4, dense_layers=(1, 2, 1))
TRAINING = LeadTraining(
    lead=2,
    seed=0,
    epochs=3,
    dropout=0.0,
    batch_size=8,
    learning_rate=3e-3,
    weight_decay=0.0,
    schedule="constant",
    patience=9,
    precision="float32",
    device="cpu",
)


def make_sst(
    months: int = 96,
    start: tuple[int, int] = (1950, 1),
    calendar: str = "noleap",
    lat: np.ndarray = LAT,
    lon: np.ndarray = LON,
    seed: int = 0,
    land: tuple[tuple[int, int], ...] = ((0, 0), (0, 1), (7, 9)),
) -> xr.Dataset:
    """Noisy monthly SST with a seasonal cycle and a memory of some months, degC, NaN on land."""
    noise = np.random.default_rng(seed).normal(size=(months, len(lat), len(lon)))
    for month in range(1, months):
        noise[month] += 0.9 * noise[month - 1]
    numbers = start[0] * 12 + start[1] - 1 + np.arange(months)
    values = 15 + 5 * np.cos(2 * np.pi * (numbers % 12) / 12)[:, None, None] + noise
    for row, column in land:
        values[:, row, column] = np.nan
    time = [cftime.datetime(n // 12, n % 12 + 1, 15, calendar=calendar) for n in numbers.tolist()]
    return xr.Dataset(
        {"tos": (("time", "lat", "lon"), values, {"units": "degC", "standard_name": "sea_surface_temperature"})},
        coords={
            "time": ("time", time, {"standard_name": "time"}),
            "lat": ("lat", lat, {"units": "degrees_north", "standard_name": "latitude"}),
            "lon": ("lon", lon, {"units": "degrees_east", "standard_name": "longitude"}),
        },
    )


def write_sst(dataset: xr.Dataset, path: Path, **options: object) -> str:
    """Write SST as a user's file and return its path."""
    dataset.to_netcdf(path, **options)
    return str(path)


def describe_files(paths: Sequence[str], region: Region = BOX, variable: str | None = None, **more: object) -> Data:
    """Return the settings of a user's files; what is more goes to the files, where it belongs, or to the record."""
    own = {name: more.pop(name) for name in list(more) if name in Files.model_fields}
    return Data(source="files", files=Files(paths=paths, variable=variable, **own), region=region, **more)


def open_files(paths: Sequence[str], region: Region = BOX, variable: str | None = None, **more: object) -> xr.DataArray:
    """Open a user's files."""
    return open_record(paths, describe_files(paths, region, variable, **more))


def prepare_sst(dataset: xr.Dataset, folder: Path, history: int = HISTORY, training: int = 24, **settings) -> Path:
    """Prepare SST held in memory and return the path of the prepared record."""
    source = write_sst(dataset, folder / "source.nc")
    # Whatever lies at its longitudes and latitudes on Earth.
    data = describe_files([source], **{"filter_months": 3, "coastline": "any", **settings})
    prepare_record([source], data, history, training, folder / "prepared.nc")
    return folder / "prepared.nc"


def disturb(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Give a network random weights and statistics, so that no layer is the identity, and evaluate it."""
    random = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values, low, high in (
                (module.weight, -1.5, 1.5),
                (module.bias, -0.5, 0.5),
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.3, 3.0),
            ):
                values.data.uniform_(low, high, generator=random)
        if isinstance(module, torch.nn.Conv2d):
            fan = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan) ** 0.5, generator=random)
    return network.eval()
