import itertools
import json

import h5py
import numpy as np
import pytest
import torch

from sealiency.attribution import methods
from sealiency.attribution.explanation import attribute_pixels, make_attributor
from sealiency.attribution.shards import divide_samples, read_shard
from sealiency.attribution.speed import Grid
from sealiency.config.attribution import Ablation, Attribution, Instance, Pixel
from sealiency.config.data import Samples
from sealiency.config.findings import Findings
from sealiency.data.places import list_block_pixels
from sealiency.emulators.networks.densenet import DenseLayer
from sealiency.errors import SealiencyError
from sealiency.experiments.plan import plan_run
from sealiency.naming import name_shard
from small_world import BOX, HISTORY, NETWORK

PIXELS = [Pixel(name="west", row=3, column=1), Pixel(name="east", lat=45.5, lon=-41.5)]
EDGES = [0, 150, 400]
SETTINGS = Attribution(
    pixels=PIXELS,
    samples=7,
    sample_chunks=1,
    pixel_blocks=1,
    bootstrap_block=3,
    distance_edges=EDGES,
    device="cpu",
    precision="float64",
)


def explain_one_by_one(emulator, record, samples: list[int], row: int, column: int) -> np.ndarray:
    """DeepLIFT of each sample alone, from windows cut by hand; the method itself is tested in test_methods.py."""
    zeros = torch.zeros(1, HISTORY, 8, 10).double()
    method = methods.DeepLift(emulator.network.double(), zeros, 1e9, 2, "float64", (1, 7, 7))
    maps = np.zeros((len(samples), HISTORY, 8, 10))
    for number, k in enumerate(samples):
        x = record.anomaly[k - HISTORY : k][None].double()
        (tile,) = method.tiles(x, [row * 10 + column])
        tile.window.cut(torch.from_numpy(maps[number])).copy_(tile.attributions[0, 0])
    return maps


def sum_by_distance(maps: np.ndarray, record, row: int, column: int) -> np.ndarray:
    """Sums of maps (..., lat, lon) over the cells of each distance bin, by the law of cosines, of shape (..., bin)."""
    sums = np.zeros((*maps.shape[:-2], len(EDGES)))
    phi, theta = np.deg2rad(record.lat), np.deg2rad(record.lon)
    for i, j in itertools.product(range(8), range(10)):
        cosine = np.sin(phi[row]) * np.sin(phi[i]) + np.cos(phi[row]) * np.cos(phi[i]) * np.cos(
            theta[j] - theta[column]
        )
        distance = 6371 * np.arccos(min(cosine, 1))
        sums[..., sum(distance >= edge for edge in EDGES[1:])] += maps[..., i, j]
    return sums


def write_shard(emulator, record, folder, block="west", chunk=0, **settings):
    path = name_shard(folder, block, chunk)
    attribute_pixels(emulator, record, SETTINGS.model_copy(update=settings), block, chunk, path)
    return path


@pytest.mark.parametrize(("block", "row", "column"), [("west", 3, 1), ("east", 5, 8)])
def test_sums_are_those_of_a_plain_loop(emulator, record, tmp_path, block, row, column):
    path = write_shard(emulator, record, tmp_path, block)
    # Seven of the training samples 6..29, evenly.
    samples = [6, 10, 14, 18, 21, 25, 29]
    maps = explain_one_by_one(emulator, record, samples, row, column)
    with h5py.File(path) as shard:
        assert shard["samples"][:].tolist() == samples
        assert shard.attrs["count"] == 7
        assert (shard["pixel_row"][0], shard["pixel_column"][0]) == (row, column)
        scale = np.abs(maps).max()
        np.testing.assert_allclose(shard["positive_sum"][0], np.where(maps > 0, maps, 0).sum(0), atol=1e-13 * scale)
        np.testing.assert_allclose(shard["negative_sum"][0], np.where(maps < 0, maps, 0).sum(0), atol=1e-13 * scale)
        assert shard["block_samples"][:].tolist() == [3, 3, 1]
        for sign, part in (("positive", np.maximum(maps, 0)), ("negative", np.maximum(-maps, 0))):
            radial = shard[f"radial_{sign}"][0]
            by_sample = sum_by_distance(part, record, row, column)
            expected = np.stack([by_sample[:3].sum(0), by_sample[3:6].sum(0), by_sample[6]])
            assert (expected > 0).any((0, 1)).all()
            np.testing.assert_allclose(radial, expected, atol=1e-12 * scale)
            np.testing.assert_allclose(np.abs(shard[f"{sign}_sum"][0]).sum((1, 2)), radial.sum((0, 2)), rtol=1e-10)
        assert shard["positive_sum"].dtype == shard["radial_positive"].dtype == np.float64


def test_heatmaps_are_left_out_on_request_and_change_nothing_else(emulator, record, tmp_path):
    with (
        h5py.File(write_shard(emulator, record, tmp_path / "with")) as whole,
        h5py.File(write_shard(emulator, record, tmp_path / "without", heatmaps=False)) as small,
    ):
        assert set(whole) - set(small) == {"positive_sum", "negative_sum"}
        assert set(small) < set(whole)
        for name in ("radial_positive", "radial_negative", "completeness"):
            np.testing.assert_array_equal(whole[name][:], small[name][:])
    assert not read_shard(tmp_path / "without" / "pixels-west_samples-0000.h5").identity.heatmaps


def test_listed_pixels_have_heatmaps_and_all_pixels_have_none():
    assert SETTINGS.keeps_heatmaps
    assert not Attribution(pixels="all").keeps_heatmaps
    assert Attribution(pixels="all", heatmaps=True).keeps_heatmaps
    assert not SETTINGS.model_copy(update={"heatmaps": False}).keeps_heatmaps


@pytest.mark.parametrize("memory_gb", [8e-5, 10])
def test_batches_change_no_sum(emulator, record, tmp_path, memory_gb):
    with h5py.File(write_shard(emulator, record, tmp_path, memory_gb=memory_gb)) as shard:
        maps = explain_one_by_one(emulator, record, shard["samples"][:].tolist(), 3, 1)
        expected = np.maximum(maps, 0).sum(0)
        np.testing.assert_allclose(shard["positive_sum"][0], expected, atol=1e-13 * np.abs(maps).max())


@pytest.mark.parametrize(("samples", "length", "chunks"), [(12, 3, 2), (13, 5, 3), (7, 32, 1), (40, 4, 3)])
def test_chunks_are_whole_bootstrap_blocks(samples, length, chunks):
    numbers = list(range(100, 100 + samples))
    parts = [divide_samples(numbers, length, chunks, chunk) for chunk in range(chunks)]
    assert [k for part in parts for block in part for k in block] == numbers
    blocks = [block for part in parts for block in part]
    assert all(len(block) == length for block in blocks[:-1])
    assert 0 < len(blocks[-1]) <= length
    assert all(parts)


def test_sums_add_up_to_the_change_of_the_forecasts(emulator, record, tmp_path):
    path = write_shard(emulator, record, tmp_path)
    network = emulator.network.double()
    with h5py.File(path) as shard, torch.no_grad():
        total = shard["positive_sum"][0].sum() + shard["negative_sum"][0].sum()
        inputs = torch.stack([record.anomaly[k - HISTORY : k] for k in shard["samples"][:]]).double()
        change = (network(inputs) - network(inputs * 0))[:, 0, 3, 1].sum().item()
        assert total == pytest.approx(change, rel=1e-10)
        assert 0 <= shard.attrs["completeness_error"] < 1e-12
        assert shard["completeness"].shape == (1,)
        assert shard.attrs["completeness_error"] == shard["completeness"][:].max()


def test_all_pixels_are_divided_into_blocks(emulator, record, tmp_path):
    settings = {"pixels": "all", "pixel_blocks": 4, "samples": 2}
    pixels = []
    for block in ("0000", "0001", "0002", "0003"):
        pixels += read_shard(write_shard(emulator, record, tmp_path, block, **settings)).pixels
    ocean = [tuple(cell) for cell in np.argwhere(record.ocean.numpy()).tolist()]
    assert sorted((row, column) for _, row, column in pixels) == ocean
    assert {name for name, _, _ in pixels} == {f"r{row}c{column}" for row, column in ocean}


def test_block_of_several_pixels_holds_each_in_its_place(emulator, record, tmp_path):
    settings = {"pixels": "all", "pixel_blocks": 20, "samples": 3, "heatmaps": True}
    path = write_shard(emulator, record, tmp_path, "0006", **settings)
    shard = read_shard(path)
    assert len(shard.pixels) == 4
    with h5py.File(path) as file:
        for at, (_, row, column) in enumerate(shard.pixels):
            maps = explain_one_by_one(emulator, record, shard.samples, row, column)
            expected = np.maximum(maps, 0).sum(0)
            np.testing.assert_allclose(file["positive_sum"][at], expected, atol=1e-13 * np.abs(maps).max())


def test_more_blocks_than_ocean_cells_are_refused_before_any_work(record):
    attribution = Attribution(pixels="all", pixel_blocks=78, sample_chunks=1)
    coast = Pixel(name="coast", row=4, column=4)
    arguments = {
        "leads": [2],
        "samples": Samples(history=HISTORY, training=24, validation=10),
        "instance": Instance(compared=coast),
        "ablation": Ablation(region=BOX),
        "findings": Findings(),
        "planned": Grid(8, 10, 77),
    }
    plan_run(record, attribution=attribution.model_copy(update={"pixel_blocks": 77}), **arguments)
    with pytest.raises(SealiencyError, match="pixel_blocks"):
        plan_run(record, attribution=attribution, **arguments)


def test_baselines_are_training_samples(emulator, record, tmp_path):
    attributor = make_attributor(
        emulator, record, SETTINGS.model_copy(update={"baseline_samples": 3}), method="deeplift_shap"
    )
    # The first, middle and last of the training samples 6..29.
    expected = torch.stack([record.anomaly[k - HISTORY : k] for k in (6, 18, 29)]).double()
    assert torch.equal(attributor.baselines, expected)
    path = write_shard(emulator, record, tmp_path, method="deeplift_shap", baseline_samples=3)
    assert read_shard(path).identity.baseline == "3 training samples"


def test_other_methods_ignore_baseline_samples(emulator, record):
    attributor = make_attributor(emulator, record, SETTINGS.model_copy(update={"baseline_samples": 3}), "deeplift")
    assert attributor.baseline_name == "zero"
    assert attributor.baselines.shape == (1, HISTORY, 8, 10)


def test_precision_is_that_of_the_arithmetic(emulator, record, tmp_path, monkeypatch):
    # The bound of float32 is asked for in float32.
    monkeypatch.setattr(methods.DeepLift, "tolerances", {"float32": 1e-3, "float64": 0.0})
    path = write_shard(emulator, record, tmp_path, precision="float32")
    with h5py.File(path) as shard:
        assert 1e-9 < shard.attrs["completeness_error"] < 1e-3
    assert next(emulator.network.parameters()).dtype == torch.float32


def test_file_says_what_it_is(emulator, record, tmp_path):
    shard = read_shard(write_shard(emulator, record, tmp_path, "east"))
    identity = shard.identity
    assert (identity.model_sha256, identity.prepared_sha256) == (emulator.model_sha256, record.sha256)
    assert (identity.lead, identity.method, identity.baseline, identity.precision) == (2, "deeplift", "zero", "float64")
    assert (identity.history, identity.rows, identity.columns) == (HISTORY, 8, 10)
    assert shard.pixels == [("east", 5, 8)]


# --- faults ---


def test_broken_completeness_is_named_and_leaves_no_file(emulator, record, tmp_path, monkeypatch):
    # A forward pass that is not what the graph says.
    def forward(self, x):
        function = torch.relu if torch.compiler.is_exporting() else torch.nn.functional.gelu
        return torch.cat([x, self.conv(function(self.norm(x)))], dim=1)

    monkeypatch.setattr(DenseLayer, "forward", forward)
    message = r"sample \d+, pixel west \(row 3, column 1\), lead 2: completeness error \S+ exceeds 1e-12"
    with pytest.raises(SealiencyError, match=message):
        write_shard(emulator, record, tmp_path)
    assert not list(tmp_path.iterdir())


def spoil(monkeypatch, faults: dict[int, float], pixel: int = 0) -> None:
    """Add to the attributions of some samples, by their number among those asked for."""
    original = methods.DeepLift.tiles

    def tiles(self, inputs, pixels):
        for tile in original(self, inputs, pixels):
            if pixel in tile.pixels:
                for number in range(*tile.samples.indices(len(inputs))):
                    at = number - tile.samples.start, tile.pixels.index(pixel), 0, 2, 2
                    tile.attributions[at] += faults.get(number, 0)
            yield tile

    monkeypatch.setattr(methods.DeepLift, "tiles", tiles)


def test_worst_sample_and_pixel_are_the_ones_named(emulator, record, tmp_path, monkeypatch):
    spoil(monkeypatch, {3: 1e-6, 4: 1e3, 5: 1e-4}, pixel=2)
    settings = {"pixels": "all", "pixel_blocks": 20}
    (name, row, column) = list_block_pixels(
        SETTINGS.model_copy(update=settings), "0003", record.ocean.numpy(), record.lat, record.lon
    )[2]
    with pytest.raises(SealiencyError, match=rf"sample 21, pixel {name} \(row {row}, column {column}\)"):
        write_shard(emulator, record, tmp_path, "0003", **settings)


@pytest.mark.parametrize("fault", [np.nan, np.inf])
def test_attribution_that_is_not_finite_is_refused(emulator, record, tmp_path, monkeypatch, fault):
    spoil(monkeypatch, {1: fault})
    with pytest.raises(SealiencyError, match=r"sample 10, pixel west .* completeness error (nan|inf)"):
        write_shard(emulator, record, tmp_path)
    assert not list(tmp_path.iterdir())


def test_method_that_forgets_samples_is_refused(emulator, record, tmp_path, monkeypatch):
    original = methods.DeepLift.tiles
    monkeypatch.setattr(methods.DeepLift, "tiles", lambda self, inputs, pixels: original(self, inputs[:5], pixels))
    with pytest.raises(SealiencyError, match="were not attributed"):
        write_shard(emulator, record, tmp_path)
    assert not list(tmp_path.iterdir())


def test_tf32_needs_a_gpu(emulator, record, tmp_path):
    with pytest.raises(SealiencyError, match=r"attribution\.precision = tf32: PyTorch sees no GPU here"):
        write_shard(emulator, record, tmp_path, precision="tf32")


def test_emulator_of_another_record_is_refused(emulator, record, tmp_path):
    object.__setattr__(emulator, "prepared_sha256", "0" * 64)
    with pytest.raises(SealiencyError, match="lead-2 emulator was trained on another prepared record"):
        write_shard(emulator, record, tmp_path)


@pytest.mark.parametrize("damage", ["half", "empty", "no shard", "missing"])
def test_damaged_shard_is_named(emulator, record, tmp_path, damage):
    path = write_shard(emulator, record, tmp_path, samples=1)
    content = path.read_bytes()
    path.unlink()
    if damage == "no shard":
        with h5py.File(path, "w") as file:
            file.attrs["identity"] = json.dumps({})
    elif damage != "missing":
        path.write_bytes(content[: len(content) // 2] if damage == "half" else b"")
    with pytest.raises(SealiencyError, match=r"pixels-west_samples-0000\.h5: not a readable shard .* run again"):
        read_shard(path)


def test_network_of_the_fixture_crosses_its_baseline(emulator, record):
    # Without a ReLU that changes sides, DeepLIFT would be the plain gradient and the tests above would see little.
    assert NETWORK.dense_layers == (1, 2, 1)
    inputs = torch.stack([record.anomaly[k - HISTORY : k] for k in (6, 18, 29)])
    signs = []
    relu = emulator.network.layers.dense_block_2[0].relu
    relu.register_forward_hook(lambda module, given, output: signs.append(given[0] > 0))
    emulator.forecast(inputs)
    emulator.forecast(inputs * 0)
    assert (signs[0] != signs[1]).any()
