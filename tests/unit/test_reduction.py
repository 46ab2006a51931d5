import queue
import shutil
import threading

import h5py
import netCDF4
import numpy as np
import pytest

from sealiency.attribution.heatmaps import read_heatmaps
from sealiency.attribution.reduction import collect_shards, reduce_heatmaps, reduce_shards
from sealiency.attribution.shards import attribute_pixels
from sealiency.config.attribution import Attribution, Pixel, select_block
from sealiency.data.samples import choose_samples
from sealiency.errors import SealiencyError
from sealiency.files import read_netcdf
from sealiency.models.emulator import load_emulator
from sealiency.naming import name_shard
from small_world import HISTORY

PIXELS = [
    Pixel(name="west", row=3, column=1),
    Pixel(name="middle", row=4, column=5),
    Pixel(name="east", row=5, column=8),
    Pixel(name="north", row=7, column=4),
]
BLOCKS = [pixel.name for pixel in PIXELS]
SAMPLES = 8
VARIABLES = ("positive_mean", "negative_mean", "monthly_positive", "monthly_negative", "monthly_all")


class Post:
    """The letter boxes of an MPI world whose ranks are threads."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.boxes: dict[tuple[int, int, int], queue.Queue] = {}
        self.lock = threading.Lock()

    def box(self, *address: int) -> queue.Queue:
        with self.lock:
            return self.boxes.setdefault(address, queue.Queue())


class ThreadCommunicator:
    def __init__(self, post: Post, rank: int) -> None:
        self.post, self.rank, self.size = post, rank, post.size

    def send(self, obj, dest, tag=0):
        self.post.box(self.rank, dest, tag).put(obj)

    def recv(self, source, tag=0):
        return self.post.box(source, self.rank, tag).get(timeout=30)


def run_ranks(size: int, work) -> None:
    """Run work(communicator) on every rank and raise what any of them raised."""
    post, failed = Post(size), []

    def run(rank: int) -> None:
        try:
            work(ThreadCommunicator(post, rank))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    if failed:
        raise failed[0]
    # Whatever was sent was asked for.
    assert all(box.empty() for box in post.boxes.values())


def write_shards(emulator_path, record, folder, chunks: int, **changes):
    settings = Attribution(
        pixels=PIXELS, samples=SAMPLES, sample_chunks=chunks, batch_size=4, device="cpu", precision="float64", **changes
    )
    emulator = load_emulator(emulator_path)
    for block in BLOCKS:
        for chunk in range(chunks):
            attribute_pixels(
                emulator, record, select_block(settings, block), block, chunk, name_shard(folder, block, chunk)
            )


@pytest.fixture(scope="module")
def three_chunks(emulator_path, record, tmp_path_factory):
    """Shards of four pixels in three chunks of 8 samples."""
    folder = tmp_path_factory.mktemp("three")
    write_shards(emulator_path, record, folder, 3)
    return folder


@pytest.fixture
def folder(three_chunks, tmp_path):
    """A copy of the shards to spoil."""
    return shutil.copytree(three_chunks, tmp_path / "shards")


def collect(folder, emulator, record, chunks=3, blocks=BLOCKS, method="deeplift"):
    return collect_shards(folder, blocks, chunks, choose_samples(record.training_samples, SAMPLES), emulator, method)


def reduce(folder, emulator, record, prepared_path, target, ranks=1, chunks=3):
    shards = collect(folder, emulator, record, chunks)
    run_ranks(ranks, lambda world: reduce_shards(shards, prepared_path, target, {"seed": 0}, world))
    return read_netcdf(target)


# --- the numbers ---


def test_means_by_a_plain_sum_over_chunks(three_chunks, emulator, record, prepared_path, tmp_path):
    heatmaps = reduce(three_chunks, emulator, record, prepared_path, tmp_path / "heatmaps.nc")
    for at, block in enumerate(BLOCKS):
        positive, negative = np.zeros((2, HISTORY, 8, 10))
        for chunk in range(3):
            with h5py.File(name_shard(three_chunks, block, chunk)) as shard:
                positive += shard["positive_sum"][0]
                negative += shard["negative_sum"][0]
        positive, negative = positive / SAMPLES, negative / SAMPLES
        np.testing.assert_array_equal(heatmaps["positive_mean"].values[at], positive.astype(np.float32))
        np.testing.assert_array_equal(heatmaps["negative_mean"].values[at], negative.astype(np.float32))
        monthly = {"positive": positive.sum((1, 2)), "negative": -negative.sum((1, 2))}
        monthly["all"] = monthly["positive"] + monthly["negative"]
        for name, values in monthly.items():
            np.testing.assert_allclose(heatmaps[f"monthly_{name}"].values[at], values, rtol=1e-6)
    assert (heatmaps["positive_mean"] >= 0).all()
    assert (heatmaps["negative_mean"] <= 0).all()
    assert (heatmaps["negative_mean"] < 0).any()


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_any_number_of_ranks_gives_the_same_bits(three_chunks, emulator, record, prepared_path, tmp_path, ranks):
    arguments = (three_chunks, emulator, record, prepared_path)
    alone = reduce(*arguments, tmp_path / "one.nc")
    together = reduce(*arguments, tmp_path / "many.nc", ranks=ranks)
    assert set(alone.variables) == set(together.variables)
    for name in alone.variables:
        if alone[name].dtype != object:
            assert alone[name].values.tobytes() == together[name].values.tobytes(), name
    assert together["pixel"].values.tolist() == BLOCKS


def test_chunks_do_not_change_the_means(three_chunks, emulator, emulator_path, record, prepared_path, tmp_path):
    write_shards(emulator_path, record, tmp_path / "whole", 1)
    for block in BLOCKS:
        with h5py.File(name_shard(tmp_path / "whole", block, 0)) as whole:
            for sign in ("positive", "negative"):
                parts = 0.0
                for chunk in range(3):
                    with h5py.File(name_shard(three_chunks, block, chunk)) as shard:
                        parts = parts + shard[f"{sign}_sum"][0]
                expected = whole[f"{sign}_sum"][0]
                np.testing.assert_allclose(parts, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    arguments = (emulator, record, prepared_path)
    chunked = reduce(three_chunks, *arguments, tmp_path / "chunked.nc")
    unchunked = reduce(tmp_path / "whole", *arguments, tmp_path / "unchunked.nc", chunks=1)
    for name in VARIABLES:
        largest = np.abs(unchunked[name].values).max()
        # One unit in the last place of the float32 that is stored.
        np.testing.assert_allclose(chunked[name].values, unchunked[name].values, rtol=1.2e-7, atol=1e-12 * largest)


def test_file_tells_pixels_lags_and_places(three_chunks, emulator, record, prepared_path, tmp_path):
    heatmaps = reduce(three_chunks, emulator, record, prepared_path, tmp_path / "heatmaps.nc")
    assert heatmaps["positive_mean"].dims == ("pixel", "lag", "lat", "lon")
    assert heatmaps["lag"].values.tolist() == [-6, -5, -4, -3, -2, -1]
    assert heatmaps["pixel_lat"].values.tolist() == [43.5, 44.5, 45.5, 47.5]
    assert heatmaps["pixel_lon"].values.tolist() == [-48.5, -44.5, -41.5, -45.5]
    np.testing.assert_array_equal(heatmaps["ocean"].values.astype(bool), record.ocean.numpy())
    assert heatmaps.attrs["samples"] == SAMPLES
    assert heatmaps.attrs["lead"] == 2
    worst = max(shard.completeness_error for row in collect(three_chunks, emulator, record) for shard in row)
    assert heatmaps.attrs["completeness_error"] == worst > 0


# --- what is refused ---


def rewrite(path, **changes: object) -> None:
    with h5py.File(path, "r+") as shard:
        for name, value in changes.items():
            if name in shard:
                del shard[name]
                shard[name] = value
            else:
                shard.attrs["identity"] = shard.attrs["identity"].replace(*value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"lead": 2', '"lead": 3'), r"another lead \(lead = 3, not 2\)"),
        (('"method": "deeplift"', '"method": "deeplift_shap"'), "another method"),
        (('"baseline": "zero"', '"baseline": "3 training samples"'), "another baseline"),
        (('"precision": "float64"', '"precision": "float32"'), "another precision"),
        (('"history": 6', '"history": 5'), "another history"),
    ],
    ids=lambda value: value[0].split('"')[1] if isinstance(value, tuple) else "",
)
def test_shard_of_another_kind_is_refused(folder, emulator, record, change, message):
    path = name_shard(folder, "east", 1)
    rewrite(path, identity=change)
    with pytest.raises(SealiencyError, match=rf"pixels-east_samples-0001\.h5: a shard of {message}"):
        collect(folder, emulator, record)


@pytest.mark.parametrize("key", ["model", "prepared"])
def test_shard_of_another_model_or_record_is_refused(folder, emulator, record, key):
    sha = {"model": emulator.model_sha256, "prepared": record.sha256}[key]
    # The first shard as well: agreement with each other is not enough.
    for path in folder.iterdir():
        rewrite(path, identity=(sha, "f" * 64))
    with pytest.raises(SealiencyError, match=rf"pixels-west_samples-0000\.h5: a shard of another {key}"):
        collect(folder, emulator, record)


def test_missing_shard_is_named(folder, emulator, record):
    name_shard(folder, "middle", 2).unlink()
    with pytest.raises(SealiencyError, match=r"pixels-middle_samples-0002\.h5: this shard is missing"):
        collect(folder, emulator, record)


def test_chunk_given_twice_is_refused(folder, emulator, record):
    shutil.copy(name_shard(folder, "middle", 0), name_shard(folder, "middle", 1))
    # Chunk 0 holds the samples 6 and 9.
    with pytest.raises(SealiencyError, match=r"pixels-middle_samples-0000\.h5 .* samples \[6, 9\] stand twice, \[\d+"):
        collect(folder, emulator, record)


def test_pixel_given_twice_is_refused(folder, emulator, record):
    # The copy of one block in the place of another agrees with itself in everything.
    for chunk in range(3):
        shutil.copy(name_shard(folder, "west", chunk), name_shard(folder, "east", chunk))
    with pytest.raises(SealiencyError, match=r"pixels-east_samples-000\d\.h5"):
        collect(folder, emulator, record)


def test_chunks_of_other_pixels_are_refused(folder, emulator, record):
    shutil.copy(name_shard(folder, "west", 1), name_shard(folder, "east", 1))
    with pytest.raises(SealiencyError, match=r"pixels-east_samples-0001\.h5: its pixels differ"):
        collect(folder, emulator, record)


def test_missing_and_foreign_samples_are_named(folder, emulator, record):
    rewrite(name_shard(folder, "west", 2), samples=np.array([99, 100, 101]))
    with pytest.raises(SealiencyError, match=r"\[22, 26, 29\] are missing, \[99, 100, 101\] do not belong"):
        collect(folder, emulator, record)


def test_fewer_chunks_than_planned_are_refused(three_chunks, emulator, record):
    with pytest.raises(SealiencyError, match="are missing"):
        collect(three_chunks, emulator, record, chunks=2)


def test_damaged_shard_is_named(folder, emulator, record):
    path = name_shard(folder, "north", 0)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(SealiencyError, match=r"pixels-north_samples-0000\.h5: not a readable shard"):
        collect(folder, emulator, record)


PLAN = {"method": "deeplift", "samples": SAMPLES, "sample_chunks": 3}


@pytest.mark.parametrize(("seen", "asked"), [(1, 2), (3, 2)])
def test_launcher_of_another_mpi_is_refused(three_chunks, emulator_path, prepared_path, tmp_path, seen, asked):
    world = ThreadCommunicator(Post(seen), 0)
    target = tmp_path / "heatmaps.nc"
    with pytest.raises(SealiencyError, match=rf"attribution.ranks = {asked}, but MPI sees {seen} rank"):
        reduce_heatmaps(prepared_path, emulator_path, three_chunks, BLOCKS, PLAN, target, asked, world)
    assert not target.exists()


def test_whole_reduction_from_files(three_chunks, emulator, emulator_path, record, prepared_path, tmp_path):
    world = ThreadCommunicator(Post(1), 0)
    target = tmp_path / "heatmaps.nc"
    reduce_heatmaps(prepared_path, emulator_path, three_chunks, BLOCKS, PLAN, target, 1, world)
    expected = reduce(three_chunks, emulator, record, prepared_path, tmp_path / "expected.nc")
    for name in VARIABLES:
        np.testing.assert_array_equal(read_netcdf(target)[name].values, expected[name].values)
    assert read_netcdf(target).attrs["seed"] == 0
    assert emulator.model_sha256 in read_netcdf(target).attrs["inputs_sha256"]


def test_failed_reduction_leaves_no_file(folder, emulator, record, prepared_path, tmp_path):
    shards = collect(folder, emulator, record)
    name_shard(folder, "east", 1).unlink()
    world = ThreadCommunicator(Post(1), 0)
    with pytest.raises(OSError, match="pixels-east_samples-0001"):
        reduce_shards(shards, prepared_path, tmp_path / "out" / "heatmaps.nc", {}, world)
    assert not list((tmp_path / "out").iterdir())


# --- reading ---


def test_one_pixel_is_read_without_the_others(three_chunks, emulator, record, prepared_path, tmp_path):
    target = tmp_path / "heatmaps.nc"
    whole = reduce(three_chunks, emulator, record, prepared_path, target)
    # Spoil the stored values of every pixel but one.
    with h5py.File(target) as file:
        stored = [file[name].id.get_chunk_info(at) for name in VARIABLES[:2] for at in (0, 1, 3)]
    content = bytearray(target.read_bytes())
    for chunk in stored:
        content[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    target.write_bytes(content)
    with netCDF4.Dataset(target) as file, pytest.raises(RuntimeError):
        file["positive_mean"][:]
    heatmaps = read_heatmaps(target, "east", Pixel(name="any", row=0, column=0))
    assert heatmaps["pixel"].values.tolist() == ["east"]
    for name in VARIABLES:
        np.testing.assert_array_equal(heatmaps[name].values, whole[name].values[2:3])


def test_compared_stands_for_the_nearest_pixel_and_no_other_name_does(
    three_chunks, emulator, record, prepared_path, tmp_path
):
    target = tmp_path / "heatmaps.nc"
    reduce(three_chunks, emulator, record, prepared_path, target)
    near = {(0, 0): "west", (4, 6): "middle", (6, 9): "east"}
    for (row, column), name in near.items():
        heatmaps = read_heatmaps(target, "compared", Pixel(name="any", row=row, column=column))
        assert heatmaps["pixel"].values.tolist() == [name]
    with pytest.raises(SealiencyError, match=r"heatmaps\.nc: holds no pixel elsewhere"):
        read_heatmaps(target, "elsewhere", Pixel(name="any", row=0, column=0))
