"""Emulators beside the run's own on the synthetic world: few samples, few months and cells, attention; and the variance of errors."""

import numpy as np
import pytest
import xarray as xr

from small_run import Workflow

pytestmark = pytest.mark.workflow

SETTINGS = {
    "run": {"name": "variants"},
    "leads": [1],
    "data": {
        "source": "synthetic",
        "synthetic": {"resolution": 5, "years": 40, "years_per_file": 20},
        "region": {"south": 0, "north": 70, "west": -100, "east": 24},
    },
    "samples": {"training": 200, "validation": 40, "test": "rest"},
    "network": {
        "kind": "dilated",
        "channels": 8,
        "dilations": [1, 2],
        "whiten": True,
        "skip": "persistence",
        "uncertainty": True,
    },
    "training": {"epochs": 6, "batch_size": 16, "learning_rate": 5e-3, "averaging": 0.9},
    "attribution": {"samples": 24},
    "findings": {"stride": 6, "samples": 24, "draws": 100, "simulated_years": 100},
    "training_size": {"samples": [50, 200]},
    "sufficiency": {"months": [1, 36], "neighbours": [9]},
    "attention": {"enabled": True, "samples": 4},
    "figures": {"dpi": 60},
}


@pytest.fixture(scope="module")
def variants(tmp_path_factory) -> Workflow:
    """Return a run up to its summary."""
    workflow = Workflow(tmp_path_factory.mktemp("variants"), SETTINGS)
    figures = ("plot_skill/skill", "plot_training_size/training_size", "plot_sufficiency/sufficiency")
    figures += ("plot_uncertainty/lead1_seed0", "plot_attention/lead1")
    answer = workflow.run(*(f"results/variants/{name}.png" for name in figures))
    assert answer.returncode == 0, answer.stdout
    return workflow


def test_each_is_trained_on_what_it_is_given(variants):
    made = {path.name for path in (variants.results / "train_emulator").iterdir()}
    assert made == {
        f"{name}lead1_seed0" for name in ("", "samples50_", "months1_cells9_", "months36_cells9_", "attention_")
    }
    sizes = xr.load_dataset(variants.results / "measure_training_size" / "lead1.nc")
    assert sizes["size"].values.tolist() == [50, 200]
    rmse = sizes["rmse"].sel(period="test").isel(seed=0)
    assert (rmse.sel(predictor="bound") < rmse.sel(predictor="emulator")).all()
    assert float(rmse.sel(predictor="emulator", size=200)) < float(rmse.sel(predictor="persistence", size=200))
    table = xr.load_dataset(variants.results / "measure_sufficiency" / "lead1.nc")
    assert np.isfinite(table["emulator"]).all()
    assert table["ridge"].dims == ("period", "months", "neighbours")
    assert len(np.unique(table["ridge"])) == table["ridge"].size


def test_the_run_s_own_emulator_has_the_skill_that_every_file_says(variants):
    skill = xr.load_dataset(variants.results / "evaluate_emulator" / "lead1_seed0" / "skill.nc")
    own = float(skill["rmse_mean"].sel(period="test", predictor="emulator"))
    sizes = xr.load_dataset(variants.results / "measure_training_size" / "lead1.nc")
    assert float(sizes["rmse"].sel(period="test", predictor="emulator", size=200).isel(seed=0)) == own
    attention = xr.load_dataset(variants.results / "measure_attention" / "lead1.nc")
    assert float(attention["rmse"].sel(kind="plain", period="test").isel(seed=0)) == own
    uncertainty = xr.load_dataset(variants.results / "evaluate_uncertainty" / "lead1_seed0" / "uncertainty.nc")
    assert 0.5 < float(uncertainty["ratio"].sel(period="test")) < 2


def test_settings_of_one_rerun_only_what_rests_on_it(variants):
    planned = variants.planned(training_size={"samples": [50, 100, 200]})
    assert "training the samples100_emulator of lead 1, seed 0" in planned
    assert "comparing emulators of different numbers of training samples, lead 1" in planned
    assert not {said for said in planned if said.startswith("training") and "samples100_" not in said} - {
        "training the random_emulator of lead 1, seed 0"
    }
    attention = variants.planned(attention={"samples": 5})
    assert "comparing emulators with attention and without, lead 1" in attention
    assert not any(said.startswith("training the attention_") for said in attention)


def test_the_whole_run_is_planned_to_its_report(variants):
    answer = variants.run("--dry-run")
    assert answer.returncode == 0, answer.stdout
    assert "writing the report" in answer.stdout
