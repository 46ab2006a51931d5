"""What `sealiency validate` tells and refuses before any job runs."""

import pytest
import yaml

from sealiency.attribution.planning import plan_shards
from sealiency.cli import main
from sealiency.config.run import parse_configuration
from sealiency.errors import SealiencyError
from sealiency.validation import check_run
from small_world import make_sst, write_sst

WORLD = {"data": {"source": "synthetic", "synthetic": {"years": 80}}, "samples": {"training": 600, "validation": 100}}
BOX = {"south": 40, "north": 48, "west": -50, "east": -40}


@pytest.fixture
def validate(tmp_path, capsys):
    """Return a function that validates settings as the command does, and returns its status and what it said."""

    def run(settings) -> tuple[int, str]:
        path = tmp_path / "my.yaml"
        path.write_text(yaml.safe_dump(settings))
        status = main(["validate", str(path)])
        said = capsys.readouterr()
        return status, (said.err if status else said.out).replace(str(path), "my.yaml")

    return run


def test_a_valid_run_is_described(validate):
    status, said = validate(WORLD)
    assert status == 0
    assert said.splitlines()[0] == "my.yaml: valid"
    assert "record      960 months, about 35 x 63 cells" in said
    assert "network     606,300 parameters" in said
    # The run's own emulators, and random weights beside each.
    assert "training    6 emulators, about " in said
    assert "attribution 3 jobs" in said


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"network": {"growth_rate": 10**8}},
            "parameters, more than the 1e+09 that can be trained; make it smaller: stem_channels",
        ),
        ({"network": {"stem_channels": 10**5}}, "stem_channels = 100000"),
        ({"training": {"batch_size": 10**7}}, "training.batch_size = 10000000: a training takes about"),
        ({"samples": {"training": 10**9, "validation": 1}}, "samples: the record of 1000000000 training"),
        (
            {"samples": {"training": 900, "validation": 100}},
            "samples: 900 training, 100 validation and rest test samples at lead 9 need",
        ),
    ],
)
def test_what_no_machine_or_record_can_hold_is_refused(validate, changes, words):
    status, said = validate(WORLD | changes)
    assert status == 1
    assert said.startswith("my.yaml: ")
    assert words in said
    # Snakemake refuses it too, before anything runs.
    configuration = parse_configuration(WORLD | changes, "my.yaml")
    with pytest.raises(SealiencyError):
        check_run(configuration, plan_shards(configuration).grid)


def test_months_that_settings_name_are_counted(validate):
    kept = WORLD["data"] | {"first_month": "0011-01", "last_month": "0040-12"}
    status, said = validate({"data": kept, "samples": {"training": 200, "validation": 50}})
    assert (status, "360 months" in said) == (0, True), said
    status, said = validate({"data": kept, "samples": {"training": 300, "validation": 50}})
    assert status == 1
    assert "the record has 360" in said
    paper = {"data": {"source": "esgf", "esgf": {"facets": ESGF}, "first_month": "0401-01", "last_month": "0410-12"}}
    status, said = validate(paper)
    assert status == 1
    assert "the record has 120" in said


ESGF = {
    "source_id": "CESM2",
    "experiment_id": "piControl",
    "variant_label": "r1i1p1f1",
    "table_id": "Omon",
    "variable_id": "tos",
    "grid_label": "gr",
    "institution_id": "NCAR",
    "activity_id": "CMIP",
}


def test_files_that_are_there_are_opened(validate, tmp_path):
    path = write_sst(make_sst(months=300), tmp_path / "sst.nc")
    own = {"data": {"source": "files", "files": {"paths": [path]}, "region": BOX}}
    status, said = validate(own | {"samples": {"training": 60, "validation": 20, "test": 10}})
    assert (status, "300 months" in said) == (0, True), said
    status, said = validate(own | {"samples": {"training": 250, "validation": 20, "test": 10}})
    assert status == 1
    assert "250 training, 20 validation and 10 test samples at lead 9 need" in said
    assert "the record has 300" in said
    outside = own | {"data": own["data"] | {"region": BOX | {"south": 0}}}
    assert "data.region asks for latitude 0..48" in validate(outside)[1]
    own["data"]["files"]["paths"] = [str(tmp_path / "none*.nc")]
    status, said = validate(own)
    assert status == 1
    assert "data.files.paths: " in said
    assert "names no file" in said


def test_the_defaults_fit_their_own_record():
    configuration = parse_configuration({}, "my.yaml")
    check_run(configuration, plan_shards(configuration).grid)
