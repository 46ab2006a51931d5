"""The explanation of one forecast: several methods on one pixel, and one method on three places."""

import numpy as np
import torch
import xarray as xr

from sealiency.attribution.completeness import check_completeness, measure_completeness
from sealiency.attribution.explanation import make_attributor
from sealiency.config.attribution import Attribution, Instance
from sealiency.conventions import LAG, LATITUDE, LONGITUDE
from sealiency.data.places import choose_places
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import SampleWindows, Split, choose_validation_sample
from sealiency.emulators.emulator import Emulator


def explain_instance(
    emulator: Emulator, record: PreparedRecord, split: Split, settings: Instance, attribution: Attribution
) -> xr.Dataset:
    """Forecast one validation sample and attribute the forecast.

    Parameters
    ----------
    emulator, record, split
        Emulator, prepared record and samples of its lead.
    settings, attribution
        What is explained, and how attributions are made.

    Returns
    -------
    xarray.Dataset
        `target`, `forecast` (unmasked), `input` of the sample; `heatmap(place, lag, lat, lon)` of A, B and C by the
        configured method; `method_heatmap(method, lag, lat, lon)` of the compared pixel; all float32, standardised.

    Raises
    ------
    SealiencyError
        If the sample or a pixel does not exist, or a method does not serve the network.
    """
    sample = choose_validation_sample(split, settings.sample, "instance.sample")
    windows = SampleWindows(record.anomaly, emulator.lead, emulator.history)
    inputs, target = windows.inputs([sample]), windows.targets([sample])[0].numpy()
    ocean = record.ocean.numpy()
    forecast = emulator.forecast(inputs)[0].numpy()
    places = choose_places(settings, target, ocean, record.lat, record.lon)
    compared = places.pop("compared")
    columns = ocean.shape[1]

    def heatmaps(method: str, pixels: list[tuple[int, int]]) -> tuple[np.ndarray, str]:
        attributor = make_attributor(emulator, record, attribution, method)
        flat = [row * columns + column for row, column in pixels]
        expected = attributor.output_difference(inputs)[:, flat].double().cpu().numpy()
        maps = np.zeros((len(pixels), *inputs.shape[1:]), np.float32)
        for tile in attributor.tiles(inputs, flat):
            values = tile.attributions.double().cpu().numpy()
            axes = (2, 3, 4)
            errors = measure_completeness(values.sum(axes), np.abs(values).sum(axes), expected[:, tile.pixels])
            names = [f"(row {pixels[at][0]}, column {pixels[at][1]})" for at in tile.pixels]
            check_completeness(errors, attributor.tolerance, attributor.mend, [sample], names, emulator.lead)
            tile.window.cut(torch.from_numpy(maps))[tile.pixels] = tile.attributions[0].float().cpu()
        return maps, attributor.baseline_name

    place_maps, baseline = heatmaps(attribution.method, list(places.values()))
    by_method = [heatmaps(method, [compared]) for method in settings.methods]
    rows, cols = np.array(list(places.values())).T
    grid = ("lat", "lon")
    units = {"units": "1"}
    dataset = xr.Dataset(
        {
            "target": (grid, target, {"long_name": "target anomaly", **units}),
            "forecast": (grid, forecast, {"long_name": "forecast anomaly, not masked", **units}),
            "input": (("lag", *grid), inputs[0].numpy(), {"long_name": "input anomaly", **units}),
            "heatmap": (
                ("place", "lag", *grid),
                place_maps,
                {"long_name": "attribution of a place's forecast", **units},
            ),
            "method_heatmap": (
                ("method", "lag", *grid),
                np.concatenate([maps for maps, _ in by_method]),
                {"long_name": "attribution of the compared pixel's forecast by method", **units},
            ),
            "method_baseline": ("method", [name for _, name in by_method], {"long_name": "baseline of a method"}),
            "ocean": record.statistics["ocean"],
            "place_lat": ("place", record.lat[rows], LATITUDE),
            "place_lon": ("place", record.lon[cols], LONGITUDE),
            "compared_lat": ((), record.lat[compared[0]], LATITUDE),
            "compared_lon": ((), record.lon[compared[1]], LONGITUDE),
        },
        coords={
            "lag": ("lag", np.arange(-emulator.history, 0, dtype=np.int32), LAG),
            "place": ("place", list(places), {"long_name": "explained place"}),
            "method": ("method", list(settings.methods), {"long_name": "attribution method"}),
            "lat": record.statistics["lat"],
            "lon": record.statistics["lon"],
        },
        attrs={
            "title": f"Explanation of one forecast of the lead-{emulator.lead} emulator",
            "lead": emulator.lead,
            "sample": sample,
            "target_month": record.months[sample + emulator.lead - 1],
            "method": attribution.method,
            "baseline": baseline,
            "precision": attribution.precision,
            "model_sha256": emulator.model_sha256,
        },
    )
    return dataset
