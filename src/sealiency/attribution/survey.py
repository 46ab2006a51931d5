"""The survey: where and when the forecasts of a thin grid of ocean pixels come from, by one emulator."""

import xarray as xr

from sealiency.attribution.explanation import make_attributor, sum_attributions
from sealiency.config.attribution import Attribution
from sealiency.config.findings import Findings
from sealiency.conventions import RADIAL
from sealiency.data.places import list_survey_pixels
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import choose_blocks
from sealiency.data.survey import describe_survey
from sealiency.emulators.emulator import Emulator


def survey_pixels(
    emulator: Emulator, record: PreparedRecord, attribution: Attribution, settings: Findings, control: str
) -> xr.Dataset:
    """Attribute the forecasts of ocean pixels at every so many rows and columns, over some training samples.

    Parameters
    ----------
    emulator, record
        Emulator and the prepared record it was trained on.
    attribution, settings
        How attributions are made, and which pixels and samples are surveyed.
    control
        Which control the emulator is, or "none".

    Returns
    -------
    xarray.Dataset
        Float64, standardised units: `radial_positive` and `radial_negative` (both >= 0) of shape (pixel,
        bootstrap_block, lag, distance), means over the samples of a bootstrap block of the sums over the cells of a
        distance bin, as in the reduced attributions; `block_samples`, `distance_bounds` (km) and the pixels' places.

    Raises
    ------
    SealiencyError
        If the emulator was trained on another record, no ocean pixel is surveyed, or an attribution is not complete.
    """
    pixels = list_survey_pixels(settings.stride, record.varying)
    blocks = choose_blocks(record.training_samples, settings.samples, settings.bootstrap_block)
    attributor = make_attributor(emulator, record, attribution, attribution.method)
    sums, completeness = sum_attributions(emulator, record, attribution, attributor, pixels, blocks, heatmaps=False)
    survey = describe_survey(record, pixels, blocks, attribution.distance_edges)
    counts = survey["block_samples"]
    for sign, name in enumerate(RADIAL):
        # From (block, pixel, distance, lag).
        values = sums.radial[sign].permute(1, 0, 3, 2).numpy()
        survey[f"radial_{name}"] = (("pixel", "bootstrap_block", "lag", "distance"), values)
        survey[f"radial_{name}"] = survey[f"radial_{name}"] / counts
        survey[f"radial_{name}"].attrs = RADIAL[name]
    survey.attrs = {
        "title": f"Survey of the attributions of the lead-{emulator.lead} emulator",
        "lead": emulator.lead,
        "control": control,
        "method": attribution.method,
        "baseline": attributor.baseline_name,
        "precision": attributor.precision,
        "samples": sum(map(len, blocks)),
        "completeness_error": completeness.max(),
        "model_sha256": emulator.model_sha256,
    }
    return survey
