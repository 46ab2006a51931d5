"""What a run will explain, checked against the prepared record before any long work begins."""

import logging
from typing import Any

from sealiency.attribution.planning import check_record_grid
from sealiency.attribution.speed import Grid
from sealiency.config.attribution import Ablation, Attribution, Instance
from sealiency.config.data import Samples
from sealiency.config.findings import Findings
from sealiency.data.places import choose_places, list_pixels, list_survey_pixels
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import choose_samples, choose_validation_sample
from sealiency.errors import SealiencyError
from sealiency.experiments.ablation import find_box

LOGGER = logging.getLogger(__name__)


def plan_run(
    record: PreparedRecord,
    leads: list[int],
    samples: Samples,
    attribution: Attribution,
    instance: Instance,
    ablation: Ablation,
    findings: Findings,
    planned: Grid,
) -> dict[str, Any]:
    """Return the samples of each lead and the explained pixels, having checked that all of them exist.

    Parameters
    ----------
    record
        Prepared record.
    leads, samples, attribution, instance, ablation, findings
        Settings of the run.
    planned
        Grid that the attribution was divided into jobs by.

    Raises
    ------
    SealiencyError
        If the record is too short for a lead, a pixel or sample lies outside it, or the jobs do not fit its grid.
    """
    periods = {}
    # The longest lead needs the most months.
    for lead in sorted(leads, reverse=True):
        split = record.split(lead, samples)
        choose_validation_sample(split, instance.sample, "instance.sample")
        choose_validation_sample(split, ablation.sample, "ablation.sample")
        periods[str(lead)] = {
            name: {
                "samples": len(period),
                "first_target": record.months[period[0] + lead - 1],
                "last_target": record.months[period[-1] + lead - 1],
            }
            for name, period in (("training", split.training), ("validation", split.validation), ("test", split.test))
            if len(period)
        }
    ocean = record.ocean.numpy()
    box = find_box(ablation, record)
    if attribution.pixels == "all" and int(attribution.pixel_blocks) > ocean.sum():
        raise SealiencyError(
            f"attribution.pixel_blocks = {attribution.pixel_blocks} exceeds the {ocean.sum()} ocean cells; lower it"
        )
    rows, columns = ocean.shape
    found = Grid(rows, columns, int(ocean.sum()))
    check_record_grid(planned, attribution, samples.history, samples.training, found)
    # The rules' own choice depends on the sample; what the user named must fit any.
    places = choose_places(instance, record.anomaly[0].numpy(), ocean, record.lat, record.lon)
    pixels = [
        {"name": name, "row": row, "column": column, "lat": float(record.lat[row]), "lon": float(record.lon[column])}
        for name, row, column in list_pixels(attribution, ocean, record.lat, record.lon)
    ]
    row, column = places["compared"]
    compared = {
        "name": instance.compared.name,
        "row": row,
        "column": column,
        "lat": float(record.lat[row]),
        "lon": float(record.lon[column]),
    }
    for pixel in (*pixels, compared) if attribution.pixels != "all" else (compared,):
        LOGGER.info("pixel %(name)s: row %(row)d, column %(column)d, at %(lat)g N, %(lon)g E", pixel)
    ablated = {
        "south": float(record.lat[box.any(1)].min()),
        "north": float(record.lat[box.any(1)].max()),
        "west": float(record.lon[box.any(0)].min()),
        "east": float(record.lon[box.any(0)].max()),
        "ocean_cells": int((box & ocean).sum()),
    }
    LOGGER.info(
        "ablated box: cells from %(south)g to %(north)g N and %(west)g to %(east)g E, %(ocean_cells)d of them ocean",
        ablated,
    )
    surveyed = list_survey_pixels(findings.stride, record.varying)
    return {
        "grid": list(ocean.shape),
        "ocean_cells": int(ocean.sum()),
        "periods": periods,
        "explained_samples": len(choose_samples(record.training_samples, attribution.samples)),
        "pixels": pixels,
        "compared": compared,
        "ablated": ablated,
        "surveyed_pixels": len(surveyed),
    }
