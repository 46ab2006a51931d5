import json
import shutil

import h5py
import numpy as np
import pytest
import xarray as xr

import handmade_shards
from handmade_shards import PLAN, name, write_shard, write_shards
from sealiency.attribution.collection import collect_shards
from sealiency.config.attribution import Attribution
from sealiency.errors import SealiencyError

# Six bootstrap blocks of 2 samples, the last with one, two in each chunk.
SAMPLES = [6, 8, 11, 13, 15, 18, 20, 22, 24, 27, 29]
CHUNKS = 3
# A sea of eight cells: those that share a cell of the coarsest grid, 4 rows by 4, 3 and 3 columns, stand together.
BLOCKS = {
    "0000": [("r3c1", 3, 1), ("r3c2", 3, 2), ("r3c3", 3, 3)],
    "0001": [("r0c9", 0, 9), ("r6c0", 6, 0), ("r4c5", 4, 5)],
    "0002": [("r7c4", 7, 4), ("r5c8", 5, 8)],
}
LISTED = {"west": [("west", 3, 1)], "east": [("east", 5, 8)]}
LISTED_PLAN = {"pixels": [{"name": "west", "row": 3, "column": 1}, {"name": "east", "lat": 45.5, "lon": -41.5}]}


@pytest.fixture
def folder(emulator, tmp_path):
    return write_shards(tmp_path / "shards", handmade_shards.identify(emulator), SAMPLES, CHUNKS, BLOCKS)


@pytest.fixture
def listed(emulator, tmp_path):
    return write_shards(tmp_path / "listed", handmade_shards.identify(emulator), SAMPLES, CHUNKS, LISTED)


def collect(folder, emulator, samples=SAMPLES, blocks=BLOCKS, **changes):
    ocean = np.zeros((8, 10), np.int8)
    for pixels in BLOCKS.values():
        for _, row, column in pixels:
            ocean[row, column] = 1
    grid = xr.Dataset({"ocean": (("lat", "lon"), ocean)}, {"lat": np.arange(40.5, 48), "lon": np.arange(-49.5, -40)})
    settings = Attribution(**(PLAN | changes), pixel_blocks=len(blocks))
    return collect_shards(folder, list(blocks), samples, settings, emulator, grid)


def rewrite(path, **changes: object) -> None:
    with h5py.File(path, "r+") as shard:
        for key, value in changes.items():
            del shard[key]
            shard[key] = value


def claim(path, **changes: object) -> None:
    """Change what a shard says of itself."""
    with h5py.File(path, "r+") as shard:
        shard.attrs["identity"] = json.dumps(json.loads(shard.attrs["identity"]) | changes)


def test_whole_set_is_described(folder, emulator):
    shards = collect(folder, emulator)
    assert shards.identity.baseline_sha256 == "b" * 64
    assert shards.samples == SAMPLES
    assert shards.block_samples == [2, 2, 2, 2, 2, 1]
    assert shards.chunk_starts == [0, 2, 4, 6]
    assert shards.paths == [[name(folder, block, chunk) for chunk in range(3)] for block in BLOCKS]
    assert shards.pixels == list(BLOCKS.values())
    # The worst pixel lies at row 3, column 1, in chunks of two bootstrap blocks.
    assert shards.completeness_error == 2e-10


def test_chunks_need_not_be_of_one_length(emulator, tmp_path):
    write_shards(tmp_path, handmade_shards.identify(emulator), SAMPLES, 4, BLOCKS)
    assert collect(tmp_path, emulator, sample_chunks=4).chunk_starts == [0, 1, 3, 4, 6]


OTHERS = {
    "model_sha256": ("f" * 64, "model"),
    "prepared_sha256": ("f" * 64, "prepared record"),
    "lead": (3, "lead"),
    "method": ("deeplift_shap", "method"),
    "baseline": ("3 training samples", "baseline"),
    "baseline_sha256": ("f" * 64, "baseline"),
    "precision": ("float64", "precision"),
    "settings_sha256": ("f" * 64, "set of method, precision, integration_steps, baseline_samples"),
    "history": (5, "history"),
    "rows": (9, "grid"),
    "columns": (9, "grid"),
    "heatmaps": (False, "kind"),
    "bootstrap_block": (4, "bootstrap block"),
    "distance_edges": ([0.0, 100.0, 300.0, 1001.0], "distance edges"),
}
# The values of the baseline are known to the shards only.
TOLD = [key for key in OTHERS if key != "baseline_sha256"]


def test_every_part_of_the_identity_is_tried(emulator):
    assert set(OTHERS) == set(handmade_shards.identify(emulator))


@pytest.mark.parametrize("key", OTHERS)
def test_shard_of_another_kind_is_refused(folder, emulator, key):
    value, word = OTHERS[key]
    claim(name(folder, "0001", 1), **{key: value})
    with pytest.raises(SealiencyError) as error:
        collect(folder, emulator)
    said = str(error.value)
    assert said.startswith(f"{name(folder, '0001', 1)}: a shard of another {word} ({key} = {value}, not ")
    assert said.endswith("; delete it and run again")


@pytest.mark.parametrize("key", TOLD)
def test_shards_that_agree_on_another_kind_are_refused(folder, emulator, key):
    value, word = OTHERS[key]
    for path in folder.iterdir():
        claim(path, **{key: value})
    with pytest.raises(SealiencyError, match=rf"pixels-0000_samples-0000\.h5: a shard of another {word}"):
        collect(folder, emulator)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"precision": "float64"}, "precision"),
        ({"method": "integrated_gradients"}, "method"),
        ({"integration_steps": 65}, "set of method, precision, integration_steps, baseline_samples"),
        ({"baseline_samples": 3}, "set of method, precision, integration_steps, baseline_samples"),
        ({"distance_edges": [0, 100, 300]}, "distance edges"),
        ({"heatmaps": False}, "kind"),
        ({"bootstrap_block": 4}, "bootstrap block"),
    ],
)
def test_shards_of_another_plan_are_refused(folder, emulator, change, word):
    with pytest.raises(SealiencyError, match=rf"pixels-0000_samples-0000\.h5: a shard of another {word} \("):
        collect(folder, emulator, **change)


def test_missing_shard_is_named(folder, emulator):
    name(folder, "0001", 2).unlink()
    with pytest.raises(SealiencyError, match=r"pixels-0001_samples-0002\.h5: this shard is missing; run again"):
        collect(folder, emulator)


def test_chunk_given_twice_is_refused(folder, emulator):
    shutil.copy(name(folder, "0001", 0), name(folder, "0001", 1))
    said = (
        r"samples-0001\.h5: holds the samples of chunk 0, \[6, 8, 11, 13\] first, so that \S*samples-0000\.h5 is given"
    )
    with pytest.raises(SealiencyError, match=said):
        collect(folder, emulator)


def test_blocks_that_stand_in_each_others_place_are_refused(folder, emulator):
    for chunk in range(CHUNKS):
        name(folder, "0000", chunk).rename(folder / "held.h5")
        name(folder, "0001", chunk).rename(name(folder, "0000", chunk))
        (folder / "held.h5").rename(name(folder, "0001", chunk))
    with pytest.raises(SealiencyError) as error:
        collect(folder, emulator)
    assert str(error.value) == (
        f"{name(folder, '0000', 0)}: holds other pixels than planned, missing: r3c1 (row 3, column 1), r3c2 (row 3, "
        "column 2), r3c3 (row 3, column 3); not planned: r0c9 (row 0, column 9), r4c5 (row 4, column 5), r6c0 (row 6, "
        "column 0); delete it and run again"
    )


def test_pixels_given_twice_are_refused(folder, emulator):
    # The copy of one block in the place of another agrees with itself in everything.
    for chunk in range(CHUNKS):
        shutil.copy(name(folder, "0000", chunk), name(folder, "0002", chunk))
    with pytest.raises(
        SealiencyError, match=r"0002_samples-0000\.h5: holds other pixels than planned, missing: r5c8 \(row 5"
    ):
        collect(folder, emulator)


def test_chunk_of_other_pixels_is_refused(folder, emulator):
    shutil.copy(name(folder, "0000", 1), name(folder, "0002", 1))
    with pytest.raises(
        SealiencyError, match=r"0002_samples-0001\.h5: holds other pixels than planned, missing: r5c8 \(row 5"
    ):
        collect(folder, emulator)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (BLOCKS["0002"][:1], "r5c8 (row 5, column 8); not planned: none"),
        ([*BLOCKS["0002"], ("r9c9", 99, 99)], "none; not planned: r9c9 (row 99, column 99)"),
        ([*BLOCKS["0002"], ("r0c0", 0, 0)], "none; not planned: r0c0 (row 0, column 0)"),
        (
            [("r7c4", 7, 4), ("r5c8", 5, 9)],
            "r5c8 (row 5, column 8); not planned: r5c8 (row 5, column 9)",
        ),
    ],
)
def test_too_few_and_foreign_pixels_are_refused(folder, emulator, pixels, said):
    for chunk, runs in enumerate(handmade_shards.split(SAMPLES, 2, CHUNKS)):
        write_shard(name(folder, "0002", chunk), handmade_shards.identify(emulator), pixels, runs)
    with pytest.raises(SealiencyError) as error:
        collect(folder, emulator)
    assert (
        str(error.value)
        == f"{name(folder, '0002', 0)}: holds other pixels than planned, missing: {said}; delete it and run again"
    )


@pytest.mark.parametrize("pixels", [BLOCKS["0002"][::-1], [*BLOCKS["0002"], BLOCKS["0002"][0]]])
def test_pixels_twice_or_out_of_order_are_refused(folder, emulator, pixels):
    runs = handmade_shards.split(SAMPLES, 2, CHUNKS)[1]
    write_shard(name(folder, "0002", 1), handmade_shards.identify(emulator), pixels, runs)
    with pytest.raises(SealiencyError, match=r"0002_samples-0001\.h5: its pixels stand twice or out of order, r"):
        collect(folder, emulator)


def test_shards_of_more_blocks_than_planned_are_refused(folder, emulator):
    # Two of the three blocks would leave out two cells of the sea.
    with pytest.raises(SealiencyError, match=r"0000_samples-0000\.h5: holds other pixels than planned, missing: r0c9"):
        collect(folder, emulator, blocks=["0000", "0001"])


def test_listed_pixels_are_blocks_of_their_own(listed, emulator):
    shards = collect(listed, emulator, blocks=LISTED, **LISTED_PLAN)
    assert shards.pixels == [[("west", 3, 1)], [("east", 5, 8)]]


@pytest.mark.parametrize("pixel", [("east", 3, 1), ("west", 5, 8), ("east", 99, 99)])
def test_listed_pixel_of_another_name_or_place_is_refused(listed, emulator, pixel):
    runs = handmade_shards.split(SAMPLES, 2, CHUNKS)[0]
    write_shard(name(listed, "east", 0), handmade_shards.identify(emulator), [pixel], runs)
    found = f"{pixel[0]} (row {pixel[1]}, column {pixel[2]})"
    with pytest.raises(SealiencyError) as error:
        collect(listed, emulator, blocks=LISTED, **LISTED_PLAN)
    said = f"holds other pixels than planned, missing: east (row 5, column 8); not planned: {found}"
    assert str(error.value) == f"{name(listed, 'east', 0)}: {said}; delete it and run again"


def test_listed_pixel_on_land_is_refused(listed, emulator):
    with pytest.raises(SealiencyError, match=r"attribution\.pixels: pixel west .* is on land"):
        collect(listed, emulator, blocks=["west"], pixels=[{"name": "west", "row": 0, "column": 0}])


def test_missing_and_foreign_samples_are_named(folder, emulator):
    rewrite(name(folder, "0000", 2), samples=np.array([24, 99, 100]))
    said = r"0000_samples-0002\.h5: of the samples planned for it \[27, 29\] are missing, and \[99, 100\] do not belong"
    with pytest.raises(SealiencyError, match=said):
        collect(folder, emulator)


@pytest.mark.parametrize("samples", [[24, 29, 27], [24, 27, 27, 29]])
def test_samples_twice_or_out_of_order_are_refused(folder, emulator, samples):
    rewrite(name(folder, "0000", 2), samples=np.array(samples))
    with pytest.raises(SealiencyError, match=r"0000_samples-0002\.h5: its samples stand twice or out of order"):
        collect(folder, emulator)


@pytest.mark.parametrize("sizes", [[1, 2], [2, 2], [3], [2]])
def test_other_bootstrap_blocks_than_planned_are_refused(folder, emulator, sizes):
    rewrite(name(folder, "0001", 2), block_samples=np.array(sizes))
    with pytest.raises(SealiencyError) as error:
        collect(folder, emulator)
    said = f"its 3 samples lie in bootstrap blocks of block_samples = {sizes}, not [2, 1]; delete it and run again"
    assert str(error.value) == f"{name(folder, '0001', 2)}: {said}"


@pytest.mark.parametrize("chunks", [2, 6])
def test_other_chunks_than_planned_are_refused(folder, emulator, chunks):
    with pytest.raises(SealiencyError, match=r"0000_samples-0000\.h5: of the samples planned for it"):
        collect(folder, emulator, sample_chunks=chunks)


def test_other_samples_than_planned_are_refused(folder, emulator):
    with pytest.raises(SealiencyError, match=r"0002\.h5: of the samples .* \[30\] are missing, and \[29\] do not"):
        collect(folder, emulator, samples=[*SAMPLES[:-1], 30])


def test_damaged_shard_is_named(folder, emulator):
    path = name(folder, "0002", 0)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(SealiencyError, match=r"0002_samples-0000\.h5: not a readable shard"):
        collect(folder, emulator)


def test_only_small_parts_are_read(folder, emulator):
    # Sums of another shape are found when they are summed, not before: 10,000 shards are many.
    for path in folder.iterdir():
        rewrite(path, positive_sum=np.zeros(1), radial_negative=np.zeros(1))
    assert len(collect(folder, emulator).paths) == len(BLOCKS)
