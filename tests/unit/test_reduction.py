import itertools
import json
import pickle
import queue
import shutil
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import cf_xarray  # noqa: F401
import h5py
import netCDF4
import numpy as np
import pytest
import xarray as xr

import handmade_shards
from handmade_shards import BLOCKS, EDGES, PLAN, describe_set, name, write_shards
from sealiency.attribution import reduction
from sealiency.attribution.explanation import attribute_pixels
from sealiency.attribution.heatmaps import read_heatmaps
from sealiency.attribution.reduction import Slab, cut_slabs, reduce_attributions, reduce_shards, sum_slabs
from sealiency.config.attribution import Attribution, Pixel, select_block
from sealiency.data.samples import choose_samples
from sealiency.emulators.emulator import load_emulator
from sealiency.errors import SealiencyError
from sealiency.files import read_netcdf
from small_world import HISTORY

# Six bootstrap blocks of 2 samples, the last with one, two in each chunk.
SAMPLES = [6, 8, 11, 13, 15, 18, 20, 22, 24, 27, 29]
CHUNKS = 3
PIXELS = [pixel for pixels in BLOCKS.values() for pixel in pixels]
LISTED = {pixel[0]: [pixel] for pixel in PIXELS}
LISTED_PLAN = PLAN | {"pixels": [{"name": name, "row": row, "column": column} for name, row, column in PIXELS]}
RADIAL = ("radial_positive", "radial_negative")
MONTHLY = ("monthly_positive", "monthly_negative", "monthly_all")
HEATMAPS = ("positive_mean", "negative_mean")
SCRIPT = Path(__file__).parents[2] / "workflow" / "scripts" / "reduce_shards.py"
MPIEXEC = shutil.which("mpiexec", path=str(Path(sys.executable).parent)) or shutil.which("mpiexec")


class Aborted(Exception):
    """Another rank failed."""


class World:
    """An MPI world whose ranks are threads."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.boxes = {pair: queue.Queue() for pair in itertools.product(range(size), repeat=2)}
        self.receipts = {pair: queue.Queue() for pair in self.boxes}

    def abort(self) -> None:
        for waiting in (*self.boxes.values(), *self.receipts.values()):
            waiting.put(Aborted)


def wait(waiting: queue.Queue):
    letter = waiting.get(timeout=20)
    if letter is Aborted:
        raise Aborted
    return letter


class Rank:
    def __init__(self, world: World, rank: int) -> None:
        self.world, self.rank, self.size = world, rank, world.size

    def bcast(self, obj, root=0):
        if self.rank != root:
            return pickle.loads(wait(self.world.boxes[root, self.rank]))
        for other in set(range(self.size)) - {root}:
            self.world.boxes[root, other].put(pickle.dumps(obj))
        return obj

    def ssend(self, obj, dest):
        self.world.boxes[self.rank, dest].put(pickle.dumps(obj))
        wait(self.world.receipts[self.rank, dest])

    def recv(self, *, source):
        letter = wait(self.world.boxes[source, self.rank])
        self.world.receipts[source, self.rank].put(True)
        return pickle.loads(letter)


def run_ranks(size: int, work) -> None:
    """Run work(communicator) on every rank; an error, which is rank 0's to raise, ends all of them."""
    world, failed = World(size), []

    def run(rank: int) -> None:
        try:
            work(Rank(world, rank))
        except Exception as error:
            failed.append((rank, error))
            world.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    if failed:
        assert failed[0][0] == 0, failed
        raise failed[0][1]
    # Whatever was sent was asked for.
    assert all(box.empty() for box in world.boxes.values())


def reduce(shards, grid, target, ranks=1):
    def work(world) -> None:
        if world.rank:
            sum_slabs(world)
        else:
            reduce_shards(shards, grid, target, {"seed": 0}, world)

    run_ranks(ranks, work)
    return read_netcdf(target)


@pytest.fixture(scope="module")
def identity(emulator_path):
    return handmade_shards.identify(load_emulator(emulator_path))


@pytest.fixture(scope="module")
def grid(prepared_path):
    return read_netcdf(prepared_path)[["ocean"]]


@pytest.fixture(scope="module")
def three_chunks(identity, tmp_path_factory):
    """Shards of eight pixels in three blocks and of 11 samples in three chunks."""
    return write_shards(tmp_path_factory.mktemp("three"), identity, SAMPLES, CHUNKS)


@pytest.fixture
def shards(three_chunks, identity):
    return describe_set(three_chunks, identity, SAMPLES, CHUNKS)


@pytest.fixture
def small_slabs(monkeypatch):
    """Memory for two pixels: slabs of 1 + 2, 2 and 1 + 2."""
    monkeypatch.setattr(reduction, "SLAB_BYTES", 2 * 32 * (6 * HISTORY * len(EDGES) + HISTORY * 80))


# --- the numbers ---


def test_means_by_a_plain_sum_over_chunks(shards, grid, three_chunks, tmp_path):
    means = reduce(shards, grid, tmp_path / "attributions.nc")
    places = [(block, at) for block, pixels in BLOCKS.items() for at in range(len(pixels))]
    for number, (block, at) in enumerate(places):
        radial, heatmaps, worst = {"positive": [], "negative": []}, {"positive": 0.0, "negative": 0.0}, 0.0
        for chunk in range(CHUNKS):
            with h5py.File(name(three_chunks, block, chunk)) as shard:
                for sign in radial:
                    radial[sign] += list(shard[f"radial_{sign}"][at])
                    heatmaps[sign] = heatmaps[sign] + shard[f"{sign}_sum"][at]
                worst = max(worst, shard["completeness"][at])
        for sign in radial:
            # The last bootstrap block has one sample.
            blocks = np.stack(radial[sign]) / np.array([2, 2, 2, 2, 2, 1])[:, None, None]
            np.testing.assert_array_equal(means[f"radial_{sign}"].values[number], blocks.astype("f4"))
            np.testing.assert_array_equal(means[f"{sign}_mean"].values[number], (heatmaps[sign] / 11).astype("f4"))
            monthly = np.stack(radial[sign]).sum((0, 2)) / 11
            np.testing.assert_allclose(means[f"monthly_{sign}"].values[number], monthly, rtol=1e-7)
        both = sum(np.stack(values).sum((0, 2)) / 11 for values in radial.values())
        np.testing.assert_allclose(means["monthly_all"].values[number], both, rtol=1e-7)
        assert means["completeness"].values[number] == worst
    assert (means["negative_mean"] <= 0).all()
    assert (means["negative_mean"] < 0).any()


def test_chunks_are_added_in_their_order(grid, identity, tmp_path):
    single = identity | {"bootstrap_block": 1}
    folder = write_shards(tmp_path / "shards", single, SAMPLES[:4], 3)
    # In float64 each of the small ones is lost beside the large one, both together are not; float32 then tells by a tie.
    for chunk, value in enumerate((1 + 2.0**-24, 2.0**-53, 2.0**-53)):
        with h5py.File(name(folder, "0001", chunk), "r+") as shard:
            shard["positive_sum"][0, 0, 0, 0] = value
    means = reduce(describe_set(folder, single, SAMPLES[:4], 3), grid, tmp_path / "attributions.nc", ranks=2)
    assert means["positive_mean"].values[3, 0, 0, 0] == 0.25


def test_blocks_weighted_by_their_samples_give_the_monthly_means(shards, grid, tmp_path):
    means = reduce(shards, grid, tmp_path / "attributions.nc")
    for sign in ("positive", "negative"):
        weighted = (means[f"radial_{sign}"].astype("f8") * means["block_samples"]).sum("bootstrap_block") / 11
        np.testing.assert_allclose(weighted.sum("distance"), means[f"monthly_{sign}"], rtol=1e-6)


@pytest.mark.usefixtures("small_slabs")
@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
def test_any_number_of_ranks_gives_the_same_file(shards, grid, tmp_path, ranks):
    assert [slab.size for slab in cut_slabs(shards)] == [1, 2, 2, 1, 2]
    reduce(shards, grid, tmp_path / "one.nc")
    reduce(shards, grid, tmp_path / "many.nc", ranks=ranks)
    assert (tmp_path / "one.nc").read_bytes() == (tmp_path / "many.nc").read_bytes()


def test_slabs_do_not_change_the_file(shards, grid, tmp_path, monkeypatch):
    assert len(cut_slabs(shards)) == len(BLOCKS)
    reduce(shards, grid, tmp_path / "large.nc")
    monkeypatch.setattr(reduction, "SLAB_BYTES", 1)
    assert len(cut_slabs(shards)) == len(PIXELS)
    reduce(shards, grid, tmp_path / "small.nc", ranks=3)
    assert (tmp_path / "large.nc").read_bytes() == (tmp_path / "small.nc").read_bytes()


def test_order_in_which_shards_are_made_does_not_change_the_file(shards, grid, identity, tmp_path):
    reduce(shards, grid, tmp_path / "first.nc")
    order = np.random.default_rng(0).permutation(len(BLOCKS) * CHUNKS)
    folder = write_shards(tmp_path / "shuffled", identity, SAMPLES, CHUNKS, order=order)
    reduce(describe_set(folder, identity, SAMPLES, CHUNKS), grid, tmp_path / "second.nc", ranks=2)
    assert (tmp_path / "first.nc").read_bytes() == (tmp_path / "second.nc").read_bytes()


@pytest.mark.parametrize("chunks", [1, 4, 6])
def test_chunks_do_not_change_the_means(shards, grid, identity, tmp_path, chunks):
    three = reduce(shards, grid, tmp_path / "three.nc")
    folder = write_shards(tmp_path / "other", identity, SAMPLES, chunks)
    other = reduce(describe_set(folder, identity, SAMPLES, chunks), grid, tmp_path / "other.nc")
    for key in (*RADIAL, *MONTHLY):
        # A bootstrap block lies in one chunk, so its sums are the same bits.
        np.testing.assert_array_equal(three[key], other[key])
    for key in HEATMAPS:
        # One unit in the last place of the float32 that is stored.
        np.testing.assert_allclose(three[key], other[key], rtol=1.2e-7)


def test_without_heatmaps_the_rest_is_the_same(shards, grid, identity, tmp_path):
    whole = reduce(shards, grid, tmp_path / "whole.nc")
    plain = identity | {"heatmaps": False}
    folder = write_shards(tmp_path / "plain", plain, SAMPLES, CHUNKS)
    small = reduce(describe_set(folder, plain, SAMPLES, CHUNKS), grid, tmp_path / "small.nc", ranks=2)
    assert set(whole.variables) - set(small.variables) == set(HEATMAPS)
    for key in small.data_vars:
        np.testing.assert_array_equal(small[key], whole[key])


# --- shards of the real writer ---


def attribute(emulator_path, record, folder, plan, blocks):
    settings = Attribution(**plan, pixel_blocks=len(blocks), device="cpu")
    emulator = load_emulator(emulator_path)
    for block, chunk in itertools.product(blocks, range(settings.sample_chunks)):
        attribute_pixels(emulator, record, select_block(settings, block), block, chunk, name(folder, block, chunk))


def test_shards_of_a_run_are_reduced_to_means_that_agree(emulator_path, record, prepared_path, tmp_path):
    assert choose_samples(record.training_samples, 11) == SAMPLES
    made, blocks = {}, list(LISTED)[:4]
    for chunks in (1, 3):
        plan = LISTED_PLAN | {"pixels": LISTED_PLAN["pixels"][:4], "sample_chunks": chunks, "precision": "float64"}
        attribute(emulator_path, record, tmp_path / str(chunks), plan, blocks)
        target = tmp_path / f"{chunks}.nc"
        arguments = (prepared_path, emulator_path, tmp_path / str(chunks), blocks, plan, target, 2)
        run_ranks(2, lambda world, arguments=arguments: reduce_attributions(*arguments, world))
        made[chunks] = read_netcdf(target)
    means = made[1]
    for key in (*RADIAL, *MONTHLY, *HEATMAPS):
        largest = float(np.abs(means[key]).max())
        np.testing.assert_allclose(made[3][key], means[key], rtol=1e-5, atol=1e-10 * largest)
    for sign in ("positive", "negative"):
        summed = np.abs(means[f"{sign}_mean"]).sum(("lat", "lon"))
        np.testing.assert_allclose(means[f"monthly_{sign}"], summed, rtol=1e-5)
    assert means["pixel"].values.tolist() == blocks
    assert 0 < means.attrs["completeness_error"] == means["completeness"].max() < 1e-12


@pytest.mark.parametrize(
    ("pixels", "changes"),
    [
        (77, {"method": "deeplift_shap", "precision": "float64", "baseline_samples": 3}),
        (77, {"precision": "bfloat16"}),
        (
            1,
            {"method": "integrated_gradients", "precision": "float64", "integration_steps": 90}
            | {"pixels": LISTED_PLAN["pixels"][:1]},
        ),
    ],
)
def test_shards_of_a_run_are_what_was_planned(emulator_path, record, prepared_path, tmp_path, pixels, changes):
    blocks = ["0000", "0001"] if pixels == 77 else [PIXELS[0][0]]
    plan = PLAN | {"samples": 2, "sample_chunks": 1, "heatmaps": False} | changes
    attribute(emulator_path, record, tmp_path, plan, blocks)
    arguments = (prepared_path, emulator_path, tmp_path, blocks, plan, tmp_path / "a.nc", 1)
    run_ranks(1, lambda world: reduce_attributions(*arguments, world))
    means = read_netcdf(tmp_path / "a.nc")
    # The sea has 77 cells.
    cells = set(zip(means["pixel_row"].values.tolist(), means["pixel_column"].values.tolist(), strict=True))
    assert len(cells) == len(means["pixel"]) == pixels
    assert all(record.ocean[cell] for cell in cells)


# --- the file ---


def test_file_tells_pixels_lags_distances_and_blocks(shards, grid, record, tmp_path):
    means = reduce(shards, grid, tmp_path / "attributions.nc")
    assert means["radial_positive"].dims == ("pixel", "bootstrap_block", "lag", "distance")
    assert means["positive_mean"].dims == ("pixel", "lag", "lat", "lon")
    assert {str(means[key].dtype) for key in (*RADIAL, *MONTHLY, *HEATMAPS)} == {"float32"}
    assert means["completeness"].dtype == np.float64
    assert means["pixel"].values.tolist() == [pixel for pixel, _, _ in PIXELS]
    assert means["pixel_row"].values.tolist() == [row for _, row, _ in PIXELS]
    assert means["pixel_column"].values.tolist() == [column for _, _, column in PIXELS]
    assert means["pixel_lat"].values.tolist() == [40.5 + row for _, row, _ in PIXELS]
    assert means["pixel_lon"].values.tolist() == [-49.5 + column for _, _, column in PIXELS]
    assert means["lag"].values.tolist() == [-6, -5, -4, -3, -2, -1]
    assert means["distance"].values.tolist() == [50, 200, 650, 10507.5]
    assert means["distance_bounds"].values.tolist() == [[0, 100], [100, 300], [300, 1000], [1000, 20015]]
    assert means["block_samples"].values.tolist() == [2, 2, 2, 2, 2, 1]
    assert means["first_sample"].values.tolist() == [6, 11, 15, 20, 24, 29]
    np.testing.assert_array_equal(means["ocean"].values.astype(bool), record.ocean.numpy())
    assert means.attrs["samples"] == 11
    assert means.attrs["lead"] == 2
    assert means.attrs["method"] == "deeplift"
    assert means.attrs["shard_settings_sha256"] == shards.identity.settings_sha256
    assert means.attrs["completeness_error"] == 1e-7


def test_metadata_follow_cf(shards, grid, tmp_path):
    means = reduce(shards, grid, tmp_path / "attributions.nc")
    assert means.cf.bounds == {"distance": ["distance_bounds"]}
    assert {"pixel_lat", "pixel_lon", "block_samples", "first_sample"} <= set(means["radial_positive"].coords)
    assert means["radial_positive"].attrs["cell_methods"].startswith("distance: sum bootstrap_block: mean")
    assert sorted(means.cf.standard_names["latitude"]) == ["lat", "pixel_lat"]
    for key in set(means.variables) - {"distance_bounds"}:
        assert means[key].attrs["long_name"], key
        assert key == "pixel" or means[key].attrs["units"], key


def test_every_large_variable_is_stored_by_pixel(shards, grid, tmp_path):
    reduce(shards, grid, tmp_path / "attributions.nc")
    with xr.open_dataset(tmp_path / "attributions.nc") as means:
        for key in (*RADIAL, *HEATMAPS):
            encoding = means[key].encoding
            assert encoding["chunksizes"] == (1, *means[key].shape[1:])
            assert encoding["zlib"]
            assert encoding["shuffle"]


def test_one_pixel_is_read_without_the_others(shards, grid, tmp_path):
    target = tmp_path / "attributions.nc"
    whole = reduce(shards, grid, target)
    # Spoil the stored values of every pixel but one.
    with h5py.File(target) as file:
        spoilt = [at for at in range(len(PIXELS)) if at != 4]
        stored = [file[key].id.get_chunk_info(at) for key in (*RADIAL, *HEATMAPS) for at in spoilt]
    content = bytearray(target.read_bytes())
    for chunk in stored:
        content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    target.write_bytes(content)
    for key in (*RADIAL, *HEATMAPS):
        with netCDF4.Dataset(target) as file, pytest.raises(RuntimeError):
            file[key][:]
    one = read_heatmaps(target, "r5c8", Pixel(name="any", row=0, column=0))
    assert one["pixel"].values.tolist() == ["r5c8"]
    for key in (*RADIAL, *MONTHLY, *HEATMAPS):
        np.testing.assert_array_equal(one[key], whole[key][4:5])


def test_compared_stands_for_the_nearest_pixel_and_no_other_name_does(shards, grid, tmp_path):
    target = tmp_path / "attributions.nc"
    reduce(shards, grid, target)
    for (row, column), nearest in {(2, 0): "r3c1", (4, 6): "r4c5", (6, 9): "r5c8"}.items():
        one = read_heatmaps(target, "compared", Pixel(name="any", row=row, column=column))
        assert one["pixel"].values.tolist() == [nearest]
    with pytest.raises(SealiencyError, match=r"attributions\.nc: holds no pixel elsewhere"):
        read_heatmaps(target, "elsewhere", Pixel(name="any", row=0, column=0))


# --- memory ---


def test_slabs_cover_every_pixel_once_and_fit_the_memory(shards, monkeypatch):
    pixel_bytes = 32 * (6 * HISTORY * len(EDGES) + HISTORY * 80)
    for pixels, wanted in ((1, [1] * 8), (1.99, [1] * 8), (2, [1, 2, 2, 1, 2]), (3, [3, 2, 3])):
        monkeypatch.setattr(reduction, "SLAB_BYTES", int(pixels * pixel_bytes))
        slabs = cut_slabs(shards)
        assert [slab.size for slab in slabs] == wanted
        covered = [(slab.paths[0].name, at) for slab in slabs for at in range(slab.part.start, slab.part.stop)]
        assert covered == [
            (f"pixels-{block}_samples-0000.h5", at) for block, members in BLOCKS.items() for at in range(len(members))
        ]
        assert [slab.first for slab in slabs] == [0, *np.cumsum(wanted)[:-1]]
    # What cannot fit is summed all the same, alone.
    monkeypatch.setattr(reduction, "SLAB_BYTES", 1)
    assert cut_slabs(shards)[0] == Slab(0, slice(0, 1), shards.paths[0])


def test_memory_does_not_grow_with_pixels_and_chunks(grid, identity, tmp_path, monkeypatch):
    # Each pixel's sums take 32 kB; the large case holds 12 MB of them in 40 files, the small one a tenth in 2.
    wide = identity | {"heatmaps": False, "distance_edges": np.arange(0.0, 10000, 60).tolist()}
    monkeypatch.setattr(reduction, "SLAB_BYTES", 2**18)
    peaks = {}
    for size, chunks, members in (("small", 1, 20), ("large", 2, 200)):
        samples = list(range(6, 6 + 4 * chunks))
        blocks = {f"{b:04d}": [(f"b{b}p{at}", at % 8, at % 10) for at in range(members // 2)] for b in range(2)}
        folder = write_shards(tmp_path / size, wide, samples, chunks, blocks)
        shards = describe_set(folder, wide, samples, chunks, blocks)
        tracemalloc.start()
        run_ranks(1, lambda world, shards=shards: reduce_shards(shards, grid, tmp_path / "a.nc", {}, world))
        peaks[size] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        stored = sum(path.stat().st_size for path in folder.iterdir())
    assert stored > 5 * peaks["large"]
    assert peaks["large"] < 1.3 * peaks["small"]


# --- what fails ---


def rewrite(path, key: str, values) -> None:
    with h5py.File(path, "r+") as shard:
        del shard[key]
        shard[key] = values


def spoil(path, key: str, **options) -> None:
    """Damage the stored bytes of a dataset and nothing else."""
    with h5py.File(path) as shard:
        chunk = shard[key].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    path.write_bytes(content)


@pytest.fixture
def spoilt(three_chunks, identity, tmp_path):
    """A copy of the shards to spoil."""
    folder = shutil.copytree(three_chunks, tmp_path / "shards")
    return folder, describe_set(folder, identity, SAMPLES, CHUNKS)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("radial_positive", np.nan, "holds values from nan to nan"),
        ("radial_negative", -1.0, "holds values from -1 to .* at least 0"),
        ("positive_sum", np.inf, "holds values from 0 to inf"),
        ("negative_sum", 0.5, "holds values from .* to 0.5, .* at most 0"),
        ("negative_sum", -np.inf, "holds values from -inf to -?0"),
    ],
)
def test_what_is_no_sum_of_one_sign_is_refused(spoilt, grid, tmp_path, key, value, said):
    folder, shards = spoilt
    with h5py.File(name(folder, "0001", 1), "r+") as shard:
        shard[key][1, 0, 0] = value
    with pytest.raises(SealiencyError, match=rf"0001_samples-0001\.h5: {key} {said}.* delete it and run again"):
        reduce(shards, grid, tmp_path / "attributions.nc")


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("radial_positive", (2, 1, 6, 4)),
        ("radial_negative", (2, 2, 6, 1)),
        ("positive_sum", (2, 6, 1, 10)),
        ("negative_sum", (2, 1)),
    ],
)
def test_sums_of_another_shape_are_refused(spoilt, grid, tmp_path, key, shape):
    # NumPy would spread each of them over the shape that is wanted.
    folder, shards = spoilt
    rewrite(name(folder, "0001", 1), key, np.zeros(shape))
    with pytest.raises(
        SealiencyError, match=rf"0001_samples-0001\.h5: {key} has the shape .*; delete it and run again"
    ):
        reduce(shards, grid, tmp_path / "attributions.nc")


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("damage", ["missing", "bytes", "pixels", "variable"])
@pytest.mark.usefixtures("small_slabs")
def test_failed_reduction_names_the_shard_and_leaves_no_file(spoilt, grid, tmp_path, ranks, damage):
    folder, shards = spoilt
    # Found in the fourth slab, which is the last rank's.
    path = name(folder, "0002", 1)
    if damage == "missing":
        path.unlink()
    elif damage == "bytes":
        spoil(path, "positive_sum")
    elif damage == "pixels":
        rewrite(path, "radial_positive", np.zeros((0, 2, 6, 4)))
    else:
        with h5py.File(path, "r+") as shard:
            del shard["completeness"]
    with pytest.raises(SealiencyError, match=r"0002_samples-0001\.h5: cannot be read .* delete it and run again"):
        reduce(shards, grid, tmp_path / "out" / "attributions.nc", ranks)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(("seen", "asked"), [(1, 2), (3, 2)])
def test_launcher_of_another_mpi_is_refused(three_chunks, emulator_path, prepared_path, tmp_path, seen, asked):
    target = tmp_path / "attributions.nc"
    arguments = (prepared_path, emulator_path, three_chunks, list(BLOCKS), PLAN, target, asked)
    with pytest.raises(SealiencyError, match=rf"attribution.ranks = {asked}, but MPI sees {seen} rank"):
        reduce_attributions(*arguments, Rank(World(seen), 0))
    assert not target.exists()


def test_another_record_is_refused_before_any_shard_is_read(three_chunks, emulator_path, prepared_path, tmp_path):
    other = shutil.copy(prepared_path, tmp_path / "other.nc")
    with netCDF4.Dataset(other, "a") as file:
        file.setncattr("title", "another")
    arguments = (other, emulator_path, tmp_path / "nowhere", list(BLOCKS), PLAN, tmp_path / "a.nc", 1)
    with pytest.raises(SealiencyError, match="was trained on another prepared record"):
        reduce_attributions(*arguments, Rank(World(1), 0))


# --- under MPI ---


@pytest.fixture
def listed(identity, tmp_path):
    """Shards of the same pixels, each listed by name: a block of its own."""
    return write_shards(tmp_path / "listed", identity, SAMPLES, CHUNKS, LISTED)


def launch(ranks, prepared_path, emulator_path, folder, target) -> subprocess.CompletedProcess[str]:
    plan = target.with_suffix(".json")
    plan.write_text(json.dumps(LISTED_PLAN | {"blocks": list(LISTED)}))
    options = {
        "--ranks": ranks,
        "--prepared": prepared_path,
        "--emulator": emulator_path,
        "--shards": folder,
        "--plan": plan,
        "--target": target,
        "--log": target.with_suffix(".log"),
    }
    command = [MPIEXEC, "-n", ranks, sys.executable, SCRIPT, *itertools.chain(*options.items())]
    return subprocess.run(
        list(map(str, command)), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120
    )


@pytest.mark.skipif(MPIEXEC is None, reason="no mpiexec beside Python or on the path")
def test_ranks_of_mpi_write_the_same_file(listed, emulator_path, prepared_path, tmp_path):
    for ranks in (1, 2, 4):
        answer = launch(ranks, prepared_path, emulator_path, listed, tmp_path / f"{ranks}.nc")
        assert answer.returncode == 0, answer.stdout
    one, two, four = ((tmp_path / f"{ranks}.nc").read_bytes() for ranks in (1, 2, 4))
    assert one == two == four
    means = read_netcdf(tmp_path / "1.nc")
    assert means.attrs["seed"] == 0
    assert means.attrs["model_sha256"] in means.attrs["inputs_sha256"]
    assert json.loads(means.attrs["settings"]) == LISTED_PLAN | {"blocks": list(LISTED)}


@pytest.mark.skipif(MPIEXEC is None, reason="no mpiexec beside Python or on the path")
def test_error_of_one_rank_of_mpi_ends_all_with_one_message(listed, emulator_path, prepared_path, tmp_path):
    # The fourth slab, which is the second rank's.
    spoil(name(listed, "r4c5", 2), "positive_sum")
    (tmp_path / "out").mkdir()
    answer = launch(2, prepared_path, emulator_path, listed, tmp_path / "out" / "attributions.nc")
    assert answer.returncode != 0
    assert answer.stdout.count("pixels-r4c5_samples-0002.h5: cannot be read") == 1
    assert "Traceback" not in answer.stdout
    assert "pixels-r4c5_samples-0002.h5: cannot be read" in (tmp_path / "out" / "attributions.log").read_text()
    assert not list((tmp_path / "out").glob("*.nc"))
    assert not list((tmp_path / "out").glob(".*"))
