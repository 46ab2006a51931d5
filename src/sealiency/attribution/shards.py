"""A shard: the sums of the attributions of one lead over one chunk of samples, for one block of pixels."""

import copy
import json
import logging
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np
import torch

from sealiency.attribution.completeness import check_completeness, measure_completeness
from sealiency.attribution.methods import Attributor, build_method
from sealiency.config.attribution import Attribution
from sealiency.data.places import list_block_pixels
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import SampleWindows, choose_samples, divide
from sealiency.errors import SealiencyError
from sealiency.files import write_whole
from sealiency.models.devices import choose_device, choose_precision
from sealiency.models.emulator import Emulator
from sealiency.progress import track
from sealiency.provenance import describe_provenance

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """What all shards of one mean heatmap have in common."""

    model_sha256: str
    prepared_sha256: str
    lead: int
    method: str
    baseline: str
    precision: str
    history: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Shard:
    """The small parts of a shard; the sums are read pixel by pixel from the open file.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    identity : Identity
        What it must have in common with the others.
    samples : list of int
        Samples it sums over, by number k.
    pixels : list of tuple
        Name, row and column of each pixel.
    completeness_error : float
        Worst |sum a - (f(x) - f(x0))| / sum |a| of its samples and pixels.
    """

    path: Path
    identity: Identity
    samples: list[int]
    pixels: list[tuple[str, int, int]]
    completeness_error: float


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
        If the emulator was trained on another prepared record, or the network has a layer without an exact rule.
    """
    emulator.check_record(record.sha256)
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    fields = torch.zeros(1, emulator.history, *record.ocean.shape)
    if method == "deeplift_shap" and settings.baseline_samples:
        chosen = choose_samples(record.training_samples, settings.baseline_samples)
        fields = SampleWindows(record.anomaly, emulator.lead, emulator.history).inputs(chosen)
    # A copy, because the emulator goes on forecasting in its own precision.
    network = copy.deepcopy(emulator.network).to(device, precision)
    return build_method(method, network, fields.to(device, precision), settings.batch_size, settings.integration_steps)


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
        Emulator, prepared record and attribution settings.
    block, chunk
        Name of the block of pixels and number of the chunk of samples.
    target
        HDF5 file to write: float64 `positive_sum` and `negative_sum` of shape (pixel, lag, lat, lon), the monthly sums
        over space `monthly_positive` and `monthly_negative` (both >= 0) of shape (pixel, sample, lag), `completeness`
        of shape (pixel, sample), `count`, the samples and the pixels. All are in standardised units.

    Raises
    ------
    SealiencyError
        If an attribution breaks completeness by more than the method's bound in this precision; sample, pixel and
        value are named, and no shard is written.
    """
    samples = divide(choose_samples(record.training_samples, settings.samples), settings.sample_chunks, chunk)
    pixels = list_block_pixels(settings, block, record.ocean.numpy(), record.lat, record.lon)
    attributor = make_attributor(emulator, record, settings, settings.method)
    inputs = SampleWindows(record.anomaly, emulator.lead, emulator.history).inputs(samples)
    rows, columns = record.ocean.shape
    flat = [row * columns + column for _, row, column in pixels]
    identity = Identity(
        model_sha256=emulator.model_sha256,
        prepared_sha256=record.sha256,
        lead=emulator.lead,
        method=settings.method,
        baseline=attributor.baseline_name,
        precision=settings.precision,
        history=emulator.history,
        rows=rows,
        columns=columns,
    )
    expected = attributor.output_difference(inputs)[:, flat].double().cpu().numpy()
    completeness = np.full((len(pixels), len(samples)), np.nan)
    field = (emulator.history, rows, columns)
    positive: dict[int, np.ndarray] = {}
    negative: dict[int, np.ndarray] = {}
    batches = math.ceil(len(samples) / settings.batch_size) * len(pixels)
    with write_whole(target) as partial, h5py.File(partial, "w") as shard:
        sums = {
            sign: shard.create_dataset(
                f"{sign}_sum",
                (len(pixels), *field),
                "f8",
                chunks=(1, *field),
                compression="gzip",
                compression_opts=1,
                shuffle=True,
            )
            for sign in ("positive", "negative")
        }
        monthly = {
            sign: shard.create_dataset(f"monthly_{sign}", (len(pixels), len(samples), emulator.history), "f8")
            for sign in ("positive", "negative")
        }
        for dataset in (*sums.values(), *monthly.values()):
            dataset.attrs["units"] = "1"
        for tile in track(attributor.tiles(inputs, flat), f"lead {emulator.lead} attribution", batches, "batch"):
            values = tile.attributions.double().cpu().numpy()
            at = tile.pixel
            name, row, column = pixels[at]
            completeness[at, tile.samples] = measure_completeness(values, expected[tile.samples, at])
            check_completeness(
                completeness[at, tile.samples],
                attributor.tolerance,
                attributor.mend,
                samples[tile.samples],
                f"{name} (row {row}, column {column})",
                emulator.lead,
            )
            raised, lowered = np.maximum(values, 0), np.minimum(values, 0)
            positive[at] = positive.get(at, np.zeros(field)) + raised.sum(0)
            negative[at] = negative.get(at, np.zeros(field)) + lowered.sum(0)
            monthly["positive"][at, tile.samples] = raised.sum((2, 3))
            monthly["negative"][at, tile.samples] = -lowered.sum((2, 3))
            if tile.samples.stop == len(samples):
                # A finished pixel leaves memory at once.
                sums["positive"][at] = positive.pop(at)
                sums["negative"][at] = negative.pop(at)
        if np.isnan(completeness).any():
            raise SealiencyError(f"{target}: some samples or pixels were not attributed; this is a fault of the method")
        shard["completeness"] = completeness
        shard["samples"] = np.asarray(samples, dtype=np.int64)
        shard["pixel_name"] = np.asarray([name for name, _, _ in pixels], dtype=h5py.string_dtype())
        shard["pixel_row"] = np.asarray([row for _, row, _ in pixels], dtype=np.int64)
        shard["pixel_column"] = np.asarray([column for _, _, column in pixels], dtype=np.int64)
        shard.attrs["count"] = len(samples)
        shard.attrs["completeness_error"] = completeness.max()
        shard.attrs["identity"] = json.dumps(asdict(identity))
        provenance = describe_provenance(
            settings.model_dump(
                mode="json", exclude={"ranks"} if settings.pixels == "all" else {"ranks", "pixel_blocks"}
            ),
            {"model": emulator.model_sha256, "prepared": record.sha256},
            seed=emulator.seed,
        )
        for name, value in provenance.items():
            shard.attrs[name] = value
    LOGGER.info("%d samples, %d pixels, worst completeness error %.3g", len(samples), len(pixels), completeness.max())


def read_shard(path: Path) -> Shard:
    """Read the small parts of a shard.

    Raises
    ------
    SealiencyError
        If the file is missing, damaged or no shard.
    """
    try:
        with h5py.File(path, "r") as file:
            names = [name.decode() for name in file["pixel_name"][:]]
            return Shard(
                path=path,
                identity=Identity(**json.loads(file.attrs["identity"])),
                samples=file["samples"][:].tolist(),
                pixels=list(zip(names, file["pixel_row"][:].tolist(), file["pixel_column"][:].tolist(), strict=True)),
                completeness_error=float(file.attrs["completeness_error"]),
            )
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SealiencyError(
            f"{path}: not a readable shard ({error}); delete it and run again to make it anew"
        ) from None
