import copy

import pytest

from sealiency.config.attribution import Attribution, Pixel, select_block
from sealiency.config.data import Region
from sealiency.config.emulator import Training, resolve_training
from sealiency.config.run import Configuration, parse_configuration, read_configuration
from sealiency.errors import SealiencyError


def refuse(settings: dict) -> str:
    """Return the message with which settings are refused."""
    with pytest.raises(SealiencyError) as caught:
        parse_configuration(settings, "my.yaml")
    return str(caught.value)


def line_with(message: str, key: str) -> str:
    """Return the one line of a message that names a key."""
    (line,) = [line for line in message.splitlines() if key in line]
    return line


def test_no_settings_give_the_defaults():
    # But for the places, which in the paper's region are the paper's.
    other = {"data": {"region": {"south": -20, "north": 20, "west": 0, "east": 40}}}
    assert parse_configuration(other, "my.yaml") == Configuration(**other)
    assert Configuration().leads == [1, 6, 9]
    assert Configuration().samples.history == 36


# --- one wrong setting ---

FACETS = {
    "activity_id": "CMIP",
    "institution_id": "NCAR",
    "source_id": "CESM2",
    "experiment_id": "piControl",
    "variant_label": "r1i1p1f1",
    "grid_label": "gr",
}


@pytest.mark.parametrize(
    ("settings", "key", "value", "mend"),
    [
        ({"trainning": 3}, "trainning", "3", "did you mean `training`?"),
        ({"data": {"regoin": 3}}, "data.regoin", "3", "did you mean `region`?"),
        ({"training": {"batchsize": 8}}, "training.batchsize", "8", "did you mean `batch_size`?"),
        ({"run": {"xyzzy": 1}}, "run.xyzzy", "1", "remove it"),
    ],
)
def test_unknown_key_is_named_with_the_one_that_is_meant(settings, key, value, mend):
    line = line_with(refuse(settings), key)
    assert "unknown key" in line
    assert mend in line
    assert value in line


@pytest.mark.parametrize(
    ("settings", "key", "words"),
    [
        ({"leads": [0]}, "leads.0 = 0", "greater than or equal to 1"),
        ({"leads": [121]}, "leads.0 = 121", "less than or equal to 120"),
        ({"leads": []}, "leads", "at least 1"),
        ({"leads": [1, 6, 6]}, "leads", "[1, 6, 6] holds one lead twice"),
        ({"training": {"seeds": [3, 3]}}, "seeds", "[3, 3] holds one seed twice"),
        ({"training": {"epochs": {1: 5, 6: 5}}}, "training.epochs", "no value for lead [9]"),
        ({"training": {"dropout": {9: 0.1}}}, "training.dropout", "no value for lead [1, 6]"),
        ({"training": {"epochs": 0}}, "training.epochs", "greater than or equal to 1"),
        ({"training": {"dropout": 1.0}}, "training.dropout", "less than 1"),
        ({"data": {"source": "files"}}, "data", "source: files needs files.paths"),
        ({"data": {"source": "esgf"}}, "data", "source: esgf needs esgf.facets"),
        ({"data": {"esgf": {"facets": FACETS, "version": "20190320"}}}, "data.esgf.version", "for example v20190320"),
        ({"data": {"esgf": {"facets": FACETS, "solr_indices": ["a"]}}}, "data.esgf.solr_indices.0", "whole address"),
        (
            {"data": {"esgf": {"facets": FACETS, "solr_indices": [], "globus_indices": []}}},
            "data.esgf",
            "globus_indices and solr_indices are both empty",
        ),
        ({"data": {"esgf": {"facets": {**FACETS, "source_id": "../x"}}}}, "data.esgf.facets.source_id", "pattern"),
        ({"data": {"filter": "none"}}, "data.filter none", "set data.climatology: monthly"),
        ({"data": {"filter_months": 6}}, "data.filter trailing_mean over 6", "set data.climatology: monthly"),
        ({"data": {"first_month": "1950-13"}}, "data.first_month", "YYYY-MM"),
        ({"data": {"first_month": "1960-01", "last_month": "1959-12"}}, "data", "must not be after last_month"),
        ({"data": {"region": {"south": 50, "north": 50}}}, "data.region", "must lie south of north"),
        ({"data": {"region": {"west": 260, "east": 25}}}, "data.region", "write a box across Greenwich as"),
        ({"ablation": {"months": [-37]}}, "ablation.months", "before the earliest input month -36"),
        ({"ablation": {"months": [0]}}, "ablation.months", "less than or equal to -1"),
        (
            {"ablation": {"replacement": "climatology"}, "samples": {"history": 6, "training": 6}},
            "ablation.replacement climatology",
            "there are 11 training months; raise samples.training",
        ),
        ({"sign_check": {"samples": 0}}, "sign_check.samples", "greater than or equal to 1"),
        ({"attribution": {"samples": 1281}}, "attribution.samples", "exceeds samples.training (1280)"),
        (
            {"attribution": {"sample_chunks": 41}},
            "attribution.sample_chunks (41)",
            "the 40 bootstrap block(s) that 1280 samples make with attribution.bootstrap_block 32",
        ),
        (
            {"attribution": {"samples": 10, "bootstrap_block": 4, "sample_chunks": 4}},
            "attribution.sample_chunks (4)",
            "the 3 bootstrap block(s) that 10 samples make",
        ),
        ({"attribution": {"distance_edges": [0, 100, 100]}}, "attribution.distance_edges", "ascending edges"),
        ({"attribution": {"distance_edges": [50, 100]}}, "attribution.distance_edges", "begin with 0"),
        ({"attribution": {"distance_edges": [0, 20015]}}, "attribution.distance_edges", "halfway round the Earth"),
        ({"attribution": {"distance_edges": [0, float("inf")]}}, "attribution.distance_edges.1 = inf", "finite number"),
        ({"attribution": {"distance_edges": [0, float("nan")]}}, "attribution.distance_edges.1 = nan", "finite number"),
        ({"attribution": {"job_minutes": float("inf")}}, "attribution.job_minutes = inf", "finite number"),
        ({"attribution": {"job_minutes": float("nan")}}, "attribution.job_minutes = nan", "finite number"),
        ({"attribution": {"memory_gb": float("inf")}}, "attribution.memory_gb = inf", "finite number"),
        ({"attribution": {"memory_gb": 1e300}}, "attribution.memory_gb = 1e+300", "less than or equal to 1000000"),
        (
            {"attribution": {"precision": "bfloat16", "method": "integrated_gradients"}},
            "attribution.precision bfloat16",
            "not integrated_gradients; choose float32 or float64",
        ),
        ({"attribution": {"precision": "tf32", "device": "cpu"}}, "attribution.precision tf32", "device is cpu"),
        ({"attribution": {"method": "guided_backprop"}}, "attribution.method", "no completeness to check"),
        ({"attribution": {"baseline_samples": 1281}}, "attribution.baseline_samples", "samples.training"),
        ({"instance": {"methods": []}}, "instance.methods", "at least 1"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_impossible_setting_is_named(settings, key, words):
    message = refuse(settings)
    assert message.startswith("my.yaml: 1 problem")
    line = line_with(message, words)
    assert key in line


def test_several_problems_come_at_once():
    settings = {
        "leads": [0],
        "regoin": {},
        "training": {"batch_size": 0, "learning_rate": -1},
        "data": {"filter_months": 1},
    }
    message = refuse(settings)
    assert message.startswith("my.yaml: 5 problem(s)")
    for key in ("leads.0", "regoin", "training.batch_size", "training.learning_rate", "data.filter_months"):
        assert line_with(message, f"- {key}")


def test_problems_between_sections_come_at_once():
    settings = {
        "leads": [1, 1, 2],
        "ablation": {"months": [-40]},
        "attribution": {"samples": 5000, "method": "guided_backprop"},
    }
    message = refuse(settings)
    for words in ("leads [1, 1, 2]", "epochs has no value", "dropout has no value", "-40", "(5000)", "guided_backprop"):
        assert words in message


def test_checking_leaves_the_settings_alone():
    settings = {"regoin": {}, "training": {"seedz": 1}, "leads": [0]}
    before = copy.deepcopy(settings)
    refuse(settings)
    assert settings == before


# --- pixels ---


@pytest.mark.parametrize(
    ("lat", "lon", "inside"),
    [
        (55.5, -43.5, True),
        (55.5, 316.5, True),
        (55.5, 20, True),
        (55.5, 380 - 360 - 360, True),
        (71, -43.5, False),
        (-1, -43.5, False),
        (55.5, 30, False),
        (55.5, 255, False),
        (55.5, -110, False),
        (70, 25, True),
    ],
)
@pytest.mark.parametrize("place", ["attribution", "instance"])
def test_pixel_must_lie_in_the_region(place, lat, lon, inside):
    pixel = {"name": "p", "lat": lat, "lon": lon}
    settings = {"attribution": {"pixels": [pixel]}} if place == "attribution" else {"instance": {"warm": pixel}}
    if inside:
        parse_configuration(settings, "my.yaml")
    else:
        assert f"pixel p at {lat:g} N, {lon:g} E lies outside data.region" in refuse(settings)


def test_region_in_either_notation_holds_the_same_pixels():
    for region in (Region(west=260, east=350), Region(west=-100, east=-10)):
        assert region.holds(50, -43.5)
        assert region.holds(50, 316.5)
        assert region.holds(50, -100)
        assert not region.holds(50, 10)
        assert not region.holds(50, 255)


@pytest.mark.parametrize(
    "pixel",
    [
        {"name": "p"},
        {"name": "p", "row": 1},
        {"name": "p", "lat": 50.0},
        {"name": "p", "row": 1, "column": 1, "lat": 50.0, "lon": 1.0},
        {"name": "p", "row": 1, "lon": 1.0},
    ],
    ids=str,
)
def test_pixel_needs_one_whole_place(pixel):
    assert "pixel p needs row and column, or lat and lon" in refuse({"attribution": {"pixels": [pixel]}})


def test_pixels_of_one_name_are_refused():
    pixels = [{"name": "p", "row": row, "column": 1} for row in (1, 2)]
    assert "hold one name twice" in refuse({"attribution": {"pixels": pixels}})


# --- the file ---


@pytest.mark.parametrize(("text", "kind"), [("- a\n- b\n", "list"), ("just words\n", "str"), ("3\n", "int")])
def test_file_that_holds_no_sections_is_refused(tmp_path, text, kind):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(SealiencyError, match=rf"my.yaml: holds a {kind}, not sections"):
        read_configuration(path)


def test_file_that_is_no_yaml_is_refused(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_text("data: {region: [")
    with pytest.raises(SealiencyError, match=r"my.yaml: not valid YAML"):
        read_configuration(path)


def test_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "my.yaml"
    path.write_bytes(b"\x89HDF\r\n\x1a\n\xff\xfe")
    with pytest.raises(SealiencyError, match=r"my.yaml: "):
        read_configuration(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(SealiencyError, match=r"none.yaml: No such file"):
        read_configuration(tmp_path / "none.yaml")


def test_empty_file_gives_the_defaults(tmp_path):
    (tmp_path / "my.yaml").write_text("# nothing\n")
    assert read_configuration(tmp_path / "my.yaml") == parse_configuration({}, "my.yaml")


# --- what a job depends on ---

WEST = Pixel(name="west", row=1, column=1)
OTHERS = [Pixel(name="east", row=2, column=2), Pixel(name="north", lat=60.0, lon=-30.0)]


def test_block_does_not_depend_on_what_is_not_its_own():
    alone = select_block(Attribution(pixels=[WEST]), "west")
    among = Attribution(
        pixels=[OTHERS[0], WEST, OTHERS[1]],
        ranks=7,
        pixel_blocks=3,
        heatmaps=True,
        job_minutes=1,
        memory_gb=1,
        calibration="speed.json",
        occlusion_window=(2, 3, 3),
    )
    assert select_block(among, "west") == alone
    assert select_block(among, "east") != alone


@pytest.mark.parametrize(
    "change",
    [
        {"pixels": [Pixel(name="west", row=1, column=2)]},
        {"method": "integrated_gradients"},
        {"samples": 5},
        {"sample_chunks": 2},
        {"bootstrap_block": 2},
        {"heatmaps": False},
        {"distance_edges": [0.0, 1000.0]},
        {"precision": "float32"},
        {"integration_steps": 3},
        {"baseline_samples": 4},
    ],
    ids=str,
)
def test_block_depends_on_what_its_numbers_depend_on(change):
    before = Attribution(pixels=[WEST], precision="float64")
    assert select_block(before.model_copy(update=change), "west") != select_block(before, "west")


def test_block_of_all_pixels_depends_on_the_number_of_blocks_but_not_of_ranks():
    settings = Attribution(pixels="all", pixel_blocks=4, ranks=2)
    fewer = settings.model_copy(update={"pixel_blocks": 3})
    assert select_block(settings, "0001") != select_block(fewer, "0001")
    assert select_block(settings, "0001") == select_block(settings.model_copy(update={"ranks": 9}), "0001")


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, True),
        ({"pixels": "all"}, False),
        ({"pixels": "all", "heatmaps": True}, True),
        ({"heatmaps": False}, False),
    ],
)
def test_heatmaps_are_kept_for_listed_pixels_or_as_told(settings, kept):
    assert Attribution(**settings).keeps_heatmaps is kept


def test_training_of_a_lead_does_not_depend_on_other_leads_or_seeds():
    settings = Training(epochs={1: 10, 6: 20}, dropout={1: 0.1, 6: 0.2}, seeds=[0, 1])
    other = Training(epochs={1: 10, 6: 99, 9: 5}, dropout={1: 0.1, 6: 0.9}, seeds=[1])
    assert resolve_training(settings, 1, 1) == resolve_training(other, 1, 1)
    assert resolve_training(settings, 6, 1) != resolve_training(other, 6, 1)
    resolved = resolve_training(settings, 6, 1)
    assert (resolved.lead, resolved.seed, resolved.epochs, resolved.dropout) == (6, 1, 20, 0.2)


def test_one_value_serves_every_lead():
    resolved = [resolve_training(Training(epochs=7, dropout=0.3, learning_rate=1e-2), lead, 0) for lead in (1, 6, 9)]
    assert {(lead.epochs, lead.dropout, lead.learning_rate) for lead in resolved} == {(7, 0.3, 1e-2)}


# --- keys that stand twice, and values beyond all measure ---


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("leads: [1]\ndata:\n  trend: none\nleads: [6]\n", "the key 'leads' stands twice, in lines 1 and 4"),
        ("data:\n  trend: none\n  filter: none\n  trend: linear\n", "the key 'trend' stands twice, in lines 2 and 4"),
        ("training: {epochs: {1: 5, 6: 5, 1: 7}}\n", "the key '1' stands twice, in lines 1 and 1"),
        ('{"leads": [1],\n "leads": [6]}', "the key 'leads' stands twice, in lines 1 and 2"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_both_lines(tmp_path, text, words):
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(SealiencyError) as caught:
        read_configuration(path)
    assert str(caught.value) == f"{path}: {words}; leave one of them out"


def test_a_merged_key_may_be_said_again(tmp_path):
    (tmp_path / "my.yaml").write_text("run: &same {name: a, folder: b}\nfigures: {zoom: 3}\n")
    assert read_configuration(tmp_path / "my.yaml").run.name == "a"
    (tmp_path / "two.yaml").write_text("training:\n  <<: {patience: 3, epochs: 4}\n  patience: 5\n")
    assert read_configuration(tmp_path / "two.yaml").training.patience == 5


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan"])
@pytest.mark.parametrize(
    "key",
    ["training.learning_rate", "training.weight_decay", "figures.zoom", "attribution.memory_gb", "data.region.south"],
)
def test_what_is_no_finite_number_is_refused(tmp_path, key, value):
    section, *rest = key.split(".")
    text = f"{section}: {{{': {'.join(rest)}: {value}}}" + "}" * (len(rest) - 1)
    (tmp_path / "my.yaml").write_text(text)
    with pytest.raises(SealiencyError, match=rf"{key} = -?(inf|nan): input should be"):
        read_configuration(tmp_path / "my.yaml")


def test_names_fit_into_file_names():
    long = "a" * 61
    assert "run.name = " in refuse({"run": {"name": long}})
    assert "attribution.pixels.0.name = " in refuse(
        {"attribution": {"pixels": [{"name": long, "row": 1, "column": 1}]}}
    )


@pytest.mark.parametrize(
    ("text", "rate"),
    [("1e-3", 0.001), ("1.0e-3", 0.001), ("'0.001'", 0.001), ("0.001", 0.001)],
)
def test_numbers_that_yaml_takes_for_text_are_numbers(tmp_path, text, rate):
    (tmp_path / "my.yaml").write_text(f"training: {{learning_rate: {text}}}")
    assert read_configuration(tmp_path / "my.yaml").training.learning_rate == rate


def test_a_date_that_yaml_makes_of_a_month_is_refused_by_its_key(tmp_path):
    (tmp_path / "my.yaml").write_text("data: {first_month: 1950-01-01}")
    with pytest.raises(SealiencyError, match=r"data.first_month = .*1950.*: input should be a valid string"):
        read_configuration(tmp_path / "my.yaml")


# --- places that follow the region ---

PACIFIC = {"south": -15, "north": 15, "west": 150, "east": 280}


def test_another_region_needs_no_further_setting():
    found = parse_configuration({"data": {"region": PACIFIC}}, "x.yaml")
    assert found.attribution.pixels == [Pixel(name="group", place="open_sea")]
    assert found.instance.compared == Pixel(name="coast", place="coast")
    assert found.ablation.region is None


def test_the_papers_region_has_the_papers_places_unless_others_are_given():
    found = parse_configuration({}, "x.yaml")
    assert found.attribution.pixels == [Pixel(name="group", lat=55.5, lon=-43.5)]
    assert found.instance.compared == Pixel(name="coast", lat=59.5, lon=-42.5)
    assert found.ablation.region.model_dump() == {"south": 45, "north": 52, "west": -45, "east": -35}
    chosen = {"attribution": {"pixels": [{"name": "here", "place": "open_sea"}]}, "ablation": {"region": None}}
    given = parse_configuration(chosen, "x.yaml")
    assert given.attribution.pixels == [Pixel(name="here", place="open_sea")]
    assert given.ablation.region is None
    assert given.instance.compared.lat == 59.5


@pytest.mark.parametrize(
    "place",
    [{}, {"row": 1}, {"lat": 1, "column": 2}, {"row": 1, "column": 1, "place": "coast"}, {"lat": 1, "place": "coast"}],
)
def test_a_pixel_lies_in_one_place(place):
    with pytest.raises(
        SealiencyError, match="pixel p needs row and column, or lat and lon, or place: open_sea or coast"
    ):
        parse_configuration({"attribution": {"pixels": [{"name": "p", **place}]}}, "x.yaml")
