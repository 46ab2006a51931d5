"""How far the methods agree with each other on one emulator."""

import numpy as np
import xarray as xr

from sealiency.attribution.explanation import make_attributor
from sealiency.config.attribution import Attribution, Instance
from sealiency.data.places import locate_compared
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import SampleWindows, choose_samples
from sealiency.emulators.emulator import Emulator

# Integrated gradients and occlusion take seconds a sample.
SAMPLES = 12


def compare_methods(
    emulator: Emulator, record: PreparedRecord, settings: Instance, attribution: Attribution, control: str
) -> xr.Dataset:
    """Correlate the heatmaps of every two methods, sample by sample.

    Parameters
    ----------
    emulator, record
        Emulator and the prepared record it was trained on.
    settings, attribution
        Pixel and methods that are compared, and how attributions are made.
    control
        Which control the emulator is, or "none".

    Returns
    -------
    xarray.Dataset
        `correlation` (sample, method, other), Pearson's over all months and cells, float64; NaN where a heatmap is
        constant.

    Raises
    ------
    SealiencyError
        If the pixel is no ocean pixel, or a method does not serve the network.
    """
    emulator.check_record(record.sha256)
    samples = choose_samples(record.training_samples, min(SAMPLES, len(record.training_samples)))
    inputs = SampleWindows(record.anomaly, emulator.lead, emulator.history).inputs(samples)
    row, column = locate_compared(settings, record.ocean.numpy(), record.lat, record.lon)
    heatmaps = np.zeros((len(settings.methods), *inputs.shape), np.float32)
    for number, method in enumerate(settings.methods):
        attributor = make_attributor(emulator, record, attribution, method)
        for tile in attributor.tiles(inputs, [row * record.ocean.shape[1] + column]):
            (rows, columns) = (slice(*span) for span in tile.window)
            heatmaps[number, tile.samples, :, rows, columns] = tile.attributions[:, 0].float().cpu().numpy()
    with np.errstate(invalid="ignore"):
        by_sample = [np.corrcoef(maps.reshape(len(maps), -1)) for maps in heatmaps.transpose(1, 0, 2, 3, 4)]
    correlation = np.reshape(by_sample, (len(samples), len(settings.methods), len(settings.methods)))
    long_name = "correlation of the heatmaps of two methods over all months and cells"
    return xr.Dataset(
        {"correlation": (("sample", "method", "other"), correlation, {"long_name": long_name, "units": "1"})},
        coords={
            "sample": ("sample", samples, {"long_name": "number of the training sample", "units": "1"}),
            "method": ("method", list(settings.methods), {"long_name": "attribution method"}),
            "other": ("other", list(settings.methods), {"long_name": "attribution method that it is compared with"}),
        },
        attrs={
            "title": f"Agreement of attribution methods on the lead-{emulator.lead} emulator",
            "lead": emulator.lead,
            "control": control,
            "pixel_lat": record.lat[row],
            "pixel_lon": record.lon[column],
            "model_sha256": emulator.model_sha256,
        },
    )
