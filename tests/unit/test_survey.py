import numpy as np
import pytest
import torch

from sealiency.attribution.explanation import make_attributor
from sealiency.attribution.survey import survey_pixels
from sealiency.config.attribution import Attribution
from sealiency.config.findings import Findings
from sealiency.data.places import list_survey_pixels, measure_distance
from sealiency.data.samples import SampleWindows, choose_samples
from sealiency.errors import SealiencyError

ATTRIBUTION = Attribution(distance_edges=[0, 100, 300], device="cpu", precision="float64")
SETTINGS = Findings(stride=3, samples=7, bootstrap_block=3)


def test_surveyed_pixels_are_ocean_at_every_third_row_and_column_and_named_as_among_all():
    ocean = np.ones((8, 10), bool)
    ocean[4, 1] = False
    pixels = list_survey_pixels(3, ocean)
    places = {(row, column) for row in (1, 4, 7) for column in (1, 4, 7)} - {(4, 1)}
    assert {(row, column) for _, row, column in pixels} == places
    assert all(name == f"r{row}c{column}" for name, row, column in pixels)


def test_grid_without_ocean_is_refused_with_the_key():
    with pytest.raises(SealiencyError, match=r"findings\.stride = 5: no ocean"):
        list_survey_pixels(5, np.zeros((8, 10), bool))


def test_survey_equals_sums_over_every_sample_and_cell(emulator, record):
    survey = survey_pixels(emulator, record, ATTRIBUTION, SETTINGS, "none")
    samples = choose_samples(record.training_samples, 7)
    inputs = SampleWindows(record.anomaly, emulator.lead, emulator.history).inputs(samples)
    attributor = make_attributor(emulator, record, ATTRIBUTION, "deeplift")
    assert survey["block_samples"].values.tolist() == [3, 3, 1]
    for at in (0, survey.sizes["pixel"] - 1):
        row, column = int(survey["pixel_row"][at]), int(survey["pixel_column"][at])
        values = torch.zeros(7, *inputs.shape[1:], dtype=torch.float64)
        for tile in attributor.tiles(inputs, [row * 10 + column]):
            tile.window.cut(values)[tile.samples] = tile.attributions[:, 0]
        distance = measure_distance(record.lat, record.lon, row, column)
        for bin_number, (low, high) in enumerate(((0, 100), (100, 300), (300, np.inf))):
            inside = torch.from_numpy((distance >= low) & (distance < high))
            cells = values[..., inside]
            for name, part in (("positive", cells.clamp(min=0)), ("negative", -cells.clamp(max=0))):
                expected = part[:3].sum(-1).mean(0), part[3:6].sum(-1).mean(0), part[6:].sum(-1).mean(0)
                found = survey[f"radial_{name}"].isel(pixel=at, distance=bin_number).values
                np.testing.assert_allclose(found, np.stack(expected), rtol=1e-10, atol=1e-14)


def test_survey_says_what_it_is_of(emulator, record):
    survey = survey_pixels(emulator, record, ATTRIBUTION, SETTINGS, "random")
    assert survey.attrs["control"] == "random"
    assert survey.attrs["samples"] == 7
    assert survey.attrs["model_sha256"] == emulator.model_sha256
    assert survey["lag"].values.tolist() == list(range(-emulator.history, 0))
    assert survey["distance_bounds"].values[:, 0].tolist() == [0, 100, 300]
    assert 0 <= survey.attrs["completeness_error"] < 1e-12
