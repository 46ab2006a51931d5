"""The whole workflow on a small crop: every stage, its outputs, and what it says at the end."""

import base64
import html
import json
import re
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from cf_check import find_faults
from sealiency.emulators.linear.registry import RIVALS
from sealiency.errors import SealiencyError
from small_run import REPOSITORY, Workflow

pytestmark = pytest.mark.workflow


def test_every_run_ends_with_a_report_and_a_summary(finished):
    summary = json.loads((finished.results / "summary.json").read_text())
    assert {(row["lead"], row["predictor"]) for row in summary["skill"]} == {
        (lead, predictor) for lead in (1, 6) for predictor in ("emulator", *RIVALS)
    }
    assert set(summary["worst_completeness_error"]) == {"1", "6"}
    assert all(0 <= error <= 1e-6 for error in summary["worst_completeness_error"].values())
    assert summary["stages"]["attribute_pixels"]["jobs"] == 2 * 2 * 2
    assert summary["seeds"] == [0]
    assert summary["versions"]["torch"]
    said = (finished.folder / "said.txt").read_text()
    assert "damped_persistence" in said
    assert f"{finished.settings['run']['folder']}/small/report.html" in said
    assert f"{finished.settings['run']['folder']}/small/summary.json" in said


def test_the_summary_counts_every_job_that_ran(finished):
    summary = json.loads((finished.results / "summary.json").read_text())
    said = (finished.folder / "said.txt").read_text()
    # Snakemake's own count holds the summary, the report and the target rule `all` too.
    assert f"{summary['jobs'] + 3} of {summary['jobs'] + 3} steps (100%) done" in said


def test_what_was_asked_for_stands_beside_what_was_used(finished):
    usage = pd.read_csv(finished.results / "write_summary" / "usage.csv", index_col="rule")
    assert set(usage.index) == set(json.loads((finished.results / "summary.json").read_text())["stages"])
    # The profile of every run switches extended benchmarks on.
    assert (usage[["memory_asked_mb", "runtime_asked_minutes", "threads"]] > 0).all(axis=None)
    assert 0 < usage.loc["train_emulator", "memory_used_mb"] < usage.loc["train_emulator", "memory_asked_mb"]
    assert "MB asked" in (finished.folder / "said.txt").read_text()
    assert "write_summary/usage.csv" in (finished.results / "report.html").read_text()
    assert set(json.loads((finished.results / "summary.json").read_text())["sha256"]) == {
        "record",
        "emulator_lead1_seed0",
        "emulator_lead6_seed0",
    }


def test_the_report_is_one_file_with_every_figure_and_its_caption(finished):
    report = (finished.results / "report.html").read_text()
    drawn = sorted(finished.results.glob("plot_*/*.png"))
    assert {path.parent.name for path in drawn} > {"plot_forecast", "plot_methods", "plot_instance", "plot_group"}
    for png in drawn:
        assert report.count(f'href="{png.parent.name}/{png.stem}.pdf"') == 1, png
        assert report.count(base64.b64encode(png.read_bytes()).decode()) == 1, png
        first, *_ = png.with_suffix(".txt").read_text(encoding="utf-8").split("\n")
        assert first in html.unescape(report), png
    assert report.count("<img") == len(drawn)
    assert 'src="http' not in report


def test_findings_hold_every_claim_and_begin_the_report(finished):
    findings = json.loads((finished.results / "findings.json").read_text())
    claims = {claim["claim"] for claim in findings["claims"]}
    assert claims == {"locality", "place", "memory", "teleconnections", "agreement", "signs"}
    # One training seed decides nothing.
    assert {claim["verdict"] for claim in findings["claims"]} == {"not decidable"}
    assert {row["kind"] for row in findings["measures"]} > {"emulator", "random weights", "AR(1), filtered"}
    report = html.unescape((finished.results / "report.html").read_text())
    assert 0 < report.index(findings["claims"][0]["title"]) < report.index("<img")
    assert findings["claims"][0]["title"] in (finished.results / "findings.md").read_text()


def test_captions_state_the_settings_of_the_run(finished):
    caption = (finished.results / "plot_group" / "lead6_north.txt").read_text(encoding="utf-8")
    first = caption.split("\n")[0]
    for stated in ("pixel north", "12 of 50 training samples", "lead 6 months", "seed 0", "deeplift", "baseline zero"):
        assert stated in first, stated


def test_heatmaps_are_the_means_of_their_shards(finished):
    heatmaps = xr.open_dataset(finished.results / "reduce_shards" / "lead6_seed0" / "deeplift" / "attributions.nc")
    assert heatmaps["pixel"].values.tolist() == ["north", "south"]
    folder = finished.results / "attribute_pixels" / "lead6_seed0" / "deeplift"
    sums = [h5py.File(folder / f"pixels-south_samples-{chunk:04d}.h5")["positive_sum"][0] for chunk in (0, 1)]
    np.testing.assert_array_equal(heatmaps["positive_mean"].sel(pixel="south"), ((sums[0] + sums[1]) / 12).astype("f4"))
    assert int(heatmaps.attrs["samples"]) == 12


def test_every_netcdf_file_follows_cf(finished):
    files = sorted(finished.results.rglob("*.nc"))
    # The stages that write one; those of the synthetic world have tests of their own.
    assert {path.relative_to(finished.results).parts[0] for path in files} == {
        "ablate_region",
        "check_signs",
        "compare_methods",
        "evaluate_emulator",
        "explain_instance",
        "fit_linear",
        "prepare_record",
        "reduce_shards",
        "survey_pixels",
    }
    assert find_faults(files) == []


def test_a_lead_without_skill_is_marked_everywhere(finished):
    skill = xr.open_dataset(finished.results / "evaluate_emulator" / "lead1_seed0" / "skill.nc")
    rmse = skill["rmse_mean"]
    beats = bool((rmse.sel(predictor="emulator") < rmse.sel(predictor="persistence")).all())
    summary = json.loads((finished.results / "summary.json").read_text())
    assert summary["beats_persistence"]["lead1_seed0"] == beats == bool(skill.attrs["beats_persistence"])
    assert ("NO SKILL: lead1_seed0" in (finished.folder / "said.txt").read_text()) == (not beats)


def test_a_finished_run_has_nothing_left_to_do(finished):
    assert finished.planned() == set()


def test_every_ocean_pixel_is_an_ordinary_setting(finished, tmp_path):
    settings = {
        **finished.settings,
        "attribution": {"pixels": "all", "samples": 4, "bootstrap_block": 2, "pixel_blocks": 3},
    }
    every = Workflow(tmp_path / "every", settings)
    shutil.copytree(finished.folder, every.folder, symlinks=True)
    answer = every.run()
    assert answer.returncode == 0, answer.stdout
    # The emulators are those of before, and so is all that does not ask for pixels.
    assert "training the emulator" not in answer.stdout
    with xr.open_dataset(every.results / "reduce_shards" / "lead6_seed0" / "deeplift" / "attributions.nc") as reduced:
        ocean = reduced["ocean"].values.astype(bool)
        assert reduced.sizes["pixel"] == ocean.sum() > 500
        found = np.zeros_like(ocean)
        found[reduced["pixel_row"], reduced["pixel_column"]] = True
        np.testing.assert_array_equal(found, ocean)
        assert "positive_mean" not in reduced
        assert (reduced["monthly_all"].sum("lag") > 0).all()
        north = reduced.isel(pixel=(reduced["pixel_lat"].values == 55.5) & (reduced["pixel_lon"].values == -43.5))
        assert north.sizes["pixel"] == 1
    assert find_faults(sorted(every.results.glob("reduce_shards/*/*/attributions.nc"))) == []
    for lead in (1, 6):
        assert (every.results / "plot_attribution_maps" / f"lead{lead}_seed0.png").stat().st_size > 10_000
    report = (every.results / "report.html").read_text()
    assert 'href="plot_attribution_maps/lead6_seed0.pdf"' in report
    assert 'href="plot_group/' not in report


def test_the_tutorial_of_notebooks_runs_on_a_finished_run(finished):
    text = (REPOSITORY / "docs" / "notebook.md").read_text()
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.S)[:2]:
        exec(block.replace('"results/demo"', repr(str(finished.results))).replace('"group"', '"north"'), names)
    run, one = names["run"], names["one"]
    assert run.leads == [1, 6]
    table = pd.read_csv(finished.results / "write_summary" / "skill.csv")
    row = table[(table["lead"] == 6) & (table["predictor"] == "emulator") & (table["period"] == "test")]
    found = run.skill["rmse_mean"].sel(lead=6, seed=0, predictor="emulator", period="test")
    assert float(found) == pytest.approx(float(row["rmse"].iloc[0]), rel=1e-3)
    with xr.open_dataset(next(finished.results.glob("reduce_shards/lead1_seed0/*/attributions.nc"))) as reduced:
        np.testing.assert_array_equal(names["maps"]["positive_mean"], reduced["positive_mean"][0])
    assert one.sizes == {"lag": 36, **{axis: run.skill.sizes[axis] for axis in ("lat", "lon")}}
    assert one.any()
    with pytest.raises(SealiencyError, match="no emulator of lead 9 and seed 0; leads are"):
        run.heatmaps(9)
    with pytest.raises(SealiencyError, match="no pixel 'west'; there are north, south"):
        run.heatmaps(1, "west")
    with pytest.raises(SealiencyError, match="sample 3: the record has samples 36 to"):
        run.explain(1, 50, -40, 3)
