"""A change reruns what depends on it, and nothing else: `snakemake --dry-run` lists exactly these jobs."""

import os
import shutil
from pathlib import Path

import pytest

from small_run import REPOSITORY, SETTINGS, YEARS, Workflow

pytestmark = pytest.mark.workflow

PIXELS = ("north", "south")
END = {"writing the summary", "writing the report"}


def train(lead, control=""):
    return {f"training the {control}emulator of lead {lead}, seed 0"}


def survey(lead, control=""):
    """Return what the findings need of one emulator."""
    return {
        f"surveying pixels with the {control}emulator of lead {lead}, seed 0",
        f"comparing methods on the {control}emulator of lead {lead}, seed 0",
    }


def nulls(lead):
    """Return all that is made for comparison with one lead's emulator."""
    return {f"fitting linear predictors of lead {lead}"} | train(lead, "random_") | survey(lead, "random_")


def attribute(lead, pixels=PIXELS):
    return {
        f"attributing lead {lead}, seed 0, pixels {pixel}, chunk {chunk}"
        for pixel in pixels
        for chunk in ("0000", "0001")
    }


def reduce(lead):
    return {f"reducing the shards of lead {lead}, seed 0 on 2 ranks"}


def explain(lead):
    return {f"explaining one forecast of lead {lead}, seed 0"}


def check_signs(*leads):
    return {f"checking the signs of the attributions of lead {lead}, seed 0" for lead in leads}


def figures_of_instance(lead):
    return {f"drawing figure {number}, lead {lead}" for number in (1, 2, 3)}


def group_figures(leads=(1, 6), pixels=PIXELS):
    return {f"drawing figure 4, lead {lead}, pixel {pixel}" for lead in leads for pixel in pixels}


def figures_of_emulator(lead):
    return {
        f"drawing figure 5, lead {lead}",
        f"drawing the learning curves of lead {lead}, seed 0",
        f"drawing maps of skill, lead {lead}",
    }


def everything_of(lead):
    """Return all jobs of one lead but for those that show several leads."""
    said = {f"evaluating the emulator of lead {lead}, seed 0", f"ablating the input of lead {lead}, seed 0"}
    return (
        train(lead)
        | said
        | explain(lead)
        | check_signs(lead)
        | survey(lead)
        | attribute(lead)
        | reduce(lead)
        | figures_of_instance(lead)
        | figures_of_emulator(lead)
    )


CHECK = {"checking that every pixel, sample and lead exists"}
FINDINGS = {"measuring the claims beside their nulls"}
SIGNS = {"drawing the sign check"}
ALL_LEADS = {"drawing skill by lead"} | SIGNS | group_figures() | END


def test_adding_a_lead(finished):
    assert finished.planned(leads=[1, 6, 3]) == (
        CHECK | everything_of(3) | nulls(3) | group_figures((3,)) | FINDINGS | ALL_LEADS
    )


def test_adding_a_pixel(finished):
    pixels = [*SETTINGS["attribution"]["pixels"], {"name": "new", "row": 8, "column": 20}]
    new = attribute(1, ("new",)) | attribute(6, ("new",)) | reduce(1) | reduce(6) | check_signs(1, 6)
    drawn = group_figures(pixels=(*PIXELS, "new")) | SIGNS
    planned = finished.planned(attribution={"pixels": pixels})
    assert planned == CHECK | {"planning the reduction"} | new | drawn | FINDINGS | END


def test_changing_a_colour_map(finished):
    drawings = figures_of_instance(1) | figures_of_instance(6) | figures_of_emulator(1) | figures_of_emulator(6)
    assert finished.planned(figures={"colormap": "PuOr_r"}) == drawings | ALL_LEADS


def test_changing_what_captions_state_redraws_and_computes_nothing(finished):
    title = "Another name of the same files"
    every = figures_of_instance(1) | figures_of_instance(6) | figures_of_emulator(1) | figures_of_emulator(6)
    # The findings name the data set too.
    assert finished.planned(data={"files": {"title": title}}) == every | FINDINGS | ALL_LEADS


def test_changing_the_ablated_months(finished):
    ablated = {f"ablating the input of lead {lead}, seed 0" for lead in (1, 6)}
    drawn = {f"drawing figure 5, lead {lead}" for lead in (1, 6)}
    assert finished.planned(ablation={"months": [-36]}) == CHECK | ablated | drawn | END


def test_changing_how_many_samples_the_sign_check_takes(finished):
    assert finished.planned(sign_check={"samples": 7}) == check_signs(1, 6) | SIGNS | FINDINGS | END


def test_changing_the_learning_rate(finished):
    # Random weights learn nothing.
    changed = everything_of(1) | everything_of(6) | FINDINGS | ALL_LEADS
    assert finished.planned(training={"learning_rate": 1e-3}) == changed


def test_changing_one_leads_epochs(finished):
    assert finished.planned(training={"epochs": {1: 3, 6: 2}}) == everything_of(6) | FINDINGS | ALL_LEADS


def test_adding_a_control(finished):
    new = {job for lead in (1, 6) for job in (*train(lead, "shuffled_"), *survey(lead, "shuffled_"))}
    planned = finished.planned(findings={"controls": ["random", "shuffled"]})
    assert planned == {job for job in new if not job.startswith("comparing")} | FINDINGS | END


def test_changing_the_attribution_module(finished, tmp_path):
    library = tmp_path / "src"
    shutil.copytree(REPOSITORY / "src", library)
    with open(library / "sealiency" / "attribution" / "methods.py", "a") as module:
        module.write("\n# changed\n")
    changed = Workflow(finished.folder, finished.settings, {**os.environ, "PYTHONPATH": str(library)})
    surveys = [survey(n, control) for n in (1, 6) for control in ("", "random_")]
    by_lead = [attribute(n) | reduce(n) | explain(n) | figures_of_instance(n) for n in (1, 6)]
    redone = set.union(*by_lead, *surveys) | check_signs(1, 6)
    assert changed.planned() == redone | SIGNS | FINDINGS | group_figures() | END


def test_adding_a_year_of_input(finished, sst_files, tmp_path):
    pattern = finished.settings["data"]["files"]["paths"][0]
    added = Path(pattern).with_name(f"sst_{YEARS.stop}.nc")
    added.symlink_to(sst_files / added.name)
    try:
        planned = finished.planned()
    finally:
        added.unlink()
    records = {"preparing anomalies", "preparing anomalies without the filter"}
    everything = set.union(*(everything_of(lead) | nulls(lead) for lead in (1, 6)))
    assert planned == records | CHECK | everything | FINDINGS | ALL_LEADS


def test_changing_the_test_period_retrains_nothing(finished):
    planned = finished.planned(samples={"test": 5})
    assert not [job for job in planned if job.startswith(("training", "preparing", "attributing", "reducing"))]
    assert "evaluating the emulator of lead 6, seed 0" in planned
