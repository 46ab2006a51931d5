"""The explanation of a block of pixels over a chunk of samples: attributions in, a shard of sums out."""

import copy
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import torch

from sealiency.attribution.accumulation import Sums
from sealiency.attribution.attributor import Attributor
from sealiency.attribution.completeness import check_completeness, measure_completeness
from sealiency.attribution.methods import build_method
from sealiency.attribution.shards import Identity, divide_samples, hash_rule
from sealiency.config.attribution import SCHEDULING, Attribution
from sealiency.data.places import list_block_pixels
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import SampleWindows, choose_samples
from sealiency.emulators.devices import choose_device
from sealiency.emulators.emulator import Emulator
from sealiency.errors import SealiencyError
from sealiency.files import write_whole
from sealiency.progress import track
from sealiency.provenance import describe_provenance

LOGGER = logging.getLogger(__name__)
PACKING = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


def make_attributor(emulator: Emulator, record: PreparedRecord, settings: Attribution, method: str) -> Attributor:
    """Return a method on the emulator, with the baselines that the settings ask for.

    Parameters
    ----------
    emulator, record
        Emulator and the prepared record it was trained on.
    settings
        Attribution settings.
    method
        Name of the method.

    Raises
    ------
    SealiencyError
        If the emulator was trained on another prepared record, the network has a layer without an exact rule, or TF32 is
        asked for where there is no GPU.
    """
    emulator.check_record(record.sha256)
    device = choose_device(settings.device)
    if settings.precision == "tf32" and device.type != "cuda":
        raise SealiencyError(
            "attribution.precision = tf32: PyTorch sees no GPU here; set float32, or run where there is one"
        )
    dtype = torch.float64 if settings.precision == "float64" else torch.float32
    # A copy, because the emulator goes on forecasting in its own precision.
    network = copy.deepcopy(emulator.network).to(device, dtype)
    return build_method(
        method,
        network,
        _choose_baselines(emulator, record, settings, method).to(device, dtype),
        # The other half is for the sums.
        settings.memory_gb * 1e9 / 2,
        settings.integration_steps,
        settings.precision,
        settings.occlusion_window,
    )


def _choose_baselines(emulator: Emulator, record: PreparedRecord, settings: Attribution, method: str) -> torch.Tensor:
    if method == "deeplift_shap" and settings.baseline_samples:
        chosen = choose_samples(record.training_samples, settings.baseline_samples)
        return SampleWindows(record.anomaly, emulator.lead, emulator.history).inputs(chosen)
    return torch.zeros(1, emulator.history, *record.ocean.shape)


def attribute_pixels(
    emulator: Emulator,
    record: PreparedRecord,
    settings: Attribution,
    block: str,
    chunk: int,
    target: Path,
) -> None:
    """Write the shard of one block of pixels and one chunk of samples.

    Parameters
    ----------
    emulator, record, settings
        Emulator, prepared record and attribution settings; `sample_chunks` and `pixel_blocks` are numbers.
    block, chunk
        Name of the block of pixels and number of the chunk of samples.
    target
        HDF5 file to write, all in standardised units: float64 `radial_positive` and `radial_negative` (both >= 0) of
        shape (pixel, bootstrap_block, lag, distance), sums over the samples of a bootstrap block and the cells of a
        distance bin; if heatmaps are kept, float64 `positive_sum` and `negative_sum` of shape (pixel, lag, lat, lon),
        sums over samples; the worst `completeness` error of each pixel; the samples, their bootstrap blocks, the pixels.

    Raises
    ------
    SealiencyError
        If an attribution breaks completeness by more than the method's bound in this precision; sample, pixel and
        value are named, and no shard is written.
    """
    chosen = choose_samples(record.training_samples, settings.samples)
    blocks = divide_samples(chosen, settings.bootstrap_block, int(settings.sample_chunks), chunk)
    samples = [sample for run in blocks for sample in run]
    pixels = list_block_pixels(settings, block, record.ocean.numpy(), record.lat, record.lon)
    attributor = make_attributor(emulator, record, settings, settings.method)
    sums, completeness = sum_attributions(
        emulator, record, settings, attributor, pixels, blocks, settings.keeps_heatmaps
    )
    identity = identify(emulator, record, settings, attributor)
    provenance = describe_provenance(
        settings.model_dump(mode="json", exclude={*SCHEDULING, "device"}),
        {"model": emulator.model_sha256, "prepared": record.sha256},
        seed=emulator.seed,
    )
    # Without its cache of chunks HDF5 notices a full disk where it can say so, not while it closes the file.
    with write_whole(target) as partial, h5py.File(partial, "w", rdcc_nbytes=0) as shard:
        _write_sums(shard, sums)
        shard["completeness"] = completeness.max(0)
        shard["samples"] = np.asarray(samples, dtype=np.int64)
        shard["block_samples"] = np.asarray([len(run) for run in blocks], dtype=np.int64)
        shard["pixel_name"] = np.asarray([name for name, _, _ in pixels], dtype=h5py.string_dtype())
        shard["pixel_row"] = np.asarray([row for _, row, _ in pixels], dtype=np.int64)
        shard["pixel_column"] = np.asarray([column for _, _, column in pixels], dtype=np.int64)
        shard.attrs["count"] = len(samples)
        shard.attrs["completeness_error"] = completeness.max()
        shard.attrs["identity"] = json.dumps(asdict(identity))
        shard.attrs.update(provenance)
    LOGGER.info("%d samples, %d pixels, worst completeness error %.3g", len(samples), len(pixels), completeness.max())


def sum_attributions(
    emulator: Emulator,
    record: PreparedRecord,
    settings: Attribution,
    attributor: Attributor,
    pixels: Sequence[tuple[str, int, int]],
    blocks: Sequence[Sequence[int]],
    heatmaps: bool,
) -> tuple[Sums, np.ndarray]:
    """Attribute some pixels over some samples, check completeness, and sum.

    Parameters
    ----------
    emulator, record, settings, attributor
        Emulator, prepared record, attribution settings, and the method made with them.
    pixels
        Name, row and column of each pixel.
    blocks
        Samples of each bootstrap block, by number k.
    heatmaps
        Whether to keep sums by cell as well.

    Returns
    -------
    Sums
        What is kept of the attributions, standardised units.
    numpy.ndarray
        Completeness errors, float64 of shape (sample, pixel).

    Raises
    ------
    SealiencyError
        If an attribution breaks completeness by more than the method's bound; sample, pixel and value are named.
    """
    samples = [sample for run in blocks for sample in run]
    names = [f"{name} (row {row}, column {column})" for name, row, column in pixels]
    inputs = SampleWindows(record.anomaly, emulator.lead, emulator.history).inputs(samples)
    flat = [row * record.ocean.shape[1] + column for _, row, column in pixels]
    expected = attributor.output_difference(inputs)[:, flat].double().cpu().numpy()
    sums = Sums(
        [(row, column) for _, row, column in pixels],
        record.lat,
        record.lon,
        settings.distance_edges,
        emulator.history,
        [len(run) for run in blocks],
        heatmaps,
        choose_device(settings.device),
    )
    completeness = np.full((len(samples), len(pixels)), np.nan)
    tiles = track(
        attributor.tiles(inputs, flat),
        f"lead {emulator.lead} attribution",
        completeness.size,
        "attribution",
        weigh=lambda tile: tile.attributions.shape[0] * tile.attributions.shape[1],
    )
    for tile in tiles:
        errors = measure_completeness(*sums.add(tile), expected[tile.samples, tile.pixels])
        chosen_names = [names[at] for at in tile.pixels]
        check_completeness(
            errors, attributor.tolerance, attributor.mend, samples[tile.samples], chosen_names, emulator.lead
        )
        completeness[tile.samples, tile.pixels] = errors
    if np.isnan(completeness).any():
        raise SealiencyError(
            f"lead {emulator.lead}: some samples or pixels were not attributed; this is a fault of the method"
        )
    return sums, completeness


def identify(emulator: Emulator, record: PreparedRecord, settings: Attribution, attributor: Attributor) -> Identity:
    """Return what all shards of one emulator under these settings have in common."""
    rows, columns = record.ocean.shape
    baselines = _choose_baselines(emulator, record, settings, settings.method)
    return Identity(
        model_sha256=emulator.model_sha256,
        prepared_sha256=record.sha256,
        lead=emulator.lead,
        method=settings.method,
        baseline=attributor.baseline_name,
        baseline_sha256=hashlib.sha256(baselines.numpy().tobytes()).hexdigest(),
        precision=attributor.precision,
        settings_sha256=hash_rule(settings),
        history=emulator.history,
        rows=rows,
        columns=columns,
        heatmaps=settings.keeps_heatmaps,
        bootstrap_block=settings.bootstrap_block,
        distance_edges=[float(edge) for edge in settings.distance_edges],
    )


def _write_sums(shard: h5py.File, sums: Sums) -> None:
    for sign, name in enumerate(("positive", "negative")):
        # From (block, pixel, distance, lag): a reader takes one pixel after the other.
        radial = sums.radial[sign].permute(1, 0, 3, 2).numpy()
        shard.create_dataset(f"radial_{name}", data=radial, chunks=(1, *radial.shape[1:]), **PACKING)
        if sums.heatmap is not None:
            heatmap = sums.heatmap[sign].cpu().numpy()
            shard.create_dataset(f"{name}_sum", data=heatmap, chunks=(1, *heatmap.shape[1:]), **PACKING)
    for dataset in shard.values():
        dataset.attrs["units"] = "1"
