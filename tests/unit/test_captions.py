"""Each figure has a caption that states what it must, and nothing that has no value."""

import re
from pathlib import Path

import pytest

from sealiency.errors import SealiencyError
from sealiency.report.captions import render_caption, split_paragraphs

WORKFLOW = Path(__file__).parents[2] / "workflow"
TEMPLATES = {path.stem: path for path in (WORKFLOW / "captions").iterdir()}
COMMON = (WORKFLOW / "rules" / "common.smk").read_text(encoding="utf-8")
STATED = re.findall(r'^    "(\w+)": ', re.search(r"^STATED = \{$(.*?)^\}$", COMMON, re.MULTILINE | re.DOTALL)[1], re.M)
VALUES = {name: f"<{name}>" for name in (*STATED, "lead", "pixel")}
HEATMAPS = {
    "ablation": {"ablated_sample", "months", "replacement"},
    "sign_check": {"checked_samples", "method"},
    "methods": {"data_set", "lead", "shown_sample", "baselines"},
    "instance": {"data_set", "lead", "shown_sample", "method", "baseline"},
    "group": {"data_set", "lead", "samples", "method", "baseline", "pixel"},
    "attribution_maps": {"data_set", "lead", "samples", "method", "baseline", "precision"},
}
# Figures that show every lead.
ALL_LEADS = {"skill", "sign_check", "training_size", "sufficiency"}
ALL_SEEDS = {"training_size", "sufficiency"}
EVERY_CAPTION = pytest.mark.parametrize("name", sorted(TEMPLATES))


def states(text):
    return set(re.findall(r"<(\w+)>", text))


def test_every_figure_has_a_caption_and_every_caption_a_figure():
    assert {path.suffix for path in TEMPLATES.values()} == {".txt"}
    assert set(TEMPLATES) == {path.stem.removeprefix("plot_") for path in (WORKFLOW / "scripts").glob("plot_*.py")}
    rules = "".join(path.read_text(encoding="utf-8") for path in (WORKFLOW / "rules").glob("*.smk"))
    for name in TEMPLATES:
        assert f'caption=caption("plot_{name}")' in rules


@EVERY_CAPTION
def test_a_caption_states_what_it_must(name):
    text = render_caption(TEMPLATES[name], VALUES)
    assert not set("{}") & set(text)
    expected = {"data_set", "filter"} | (set() if name in ALL_LEADS else {"lead"})
    expected |= set() if name in ALL_SEEDS else {"seed"}
    assert states(text) >= expected | HEATMAPS.get(name, set())


@EVERY_CAPTION
def test_the_first_paragraph_is_one_sentence_that_names_the_data(name):
    first, *more = split_paragraphs(render_caption(TEMPLATES[name], VALUES))
    assert "<data_set>" in first
    assert re.fullmatch(r"[A-Z][^.!?]*\.", first)
    assert more


@EVERY_CAPTION
def test_a_caption_names_units(name):
    text = render_caption(TEMPLATES[name], VALUES)
    assert "standard deviations of the training anomalies" in text or "(km)" in text


def test_caveats_stay():
    said = {name: render_caption(path, VALUES) for name, path in TEMPLATES.items()}
    assert "no evidence of fidelity" in said["methods"]
    assert "receptive field" in said["ablation"]
    assert "chosen on the validation samples" in said["skill"]
    for name in ("group", "attribution_maps"):
        assert "property of the architecture" in said[name]
        assert "moving average" in said[name]


@pytest.mark.parametrize(("lead", "words"), [("1", "lead 1 month,"), ("6", "lead 6 months,")])
def test_one_month_is_not_months(lead, words):
    assert words in render_caption(TEMPLATES["forecast"], VALUES | {"lead": lead})


def test_broken_lines_change_nothing(tmp_path):
    for turn, text in enumerate(("One {{ lead }}\nsentence.\n\nMore.\n", "\nOne {{ lead }} sentence.\n \n\nMore.")):
        (tmp_path / f"{turn}.txt").write_text(text)
    first, second = (render_caption(tmp_path / f"{turn}.txt", {"lead": 6}) for turn in (0, 1))
    assert first == second == "One 6 sentence.\n\nMore."


@pytest.mark.parametrize(
    ("text", "said"), [("{{ depth }}", "'depth' is undefined"), ("{{ lead", "unexpected"), (None, "No such file")]
)
def test_a_caption_that_cannot_be_rendered_is_one_clear_error(tmp_path, text, said):
    path = tmp_path / "figure.txt"
    if text:
        path.write_text(text)
    with pytest.raises(SealiencyError) as raised:
        render_caption(path, {"lead": 6})
    assert str(path) in str(raised.value)
    assert said in str(raised.value)


def test_values_are_text_and_no_template():
    assert "{{ lead }} & <b>" in render_caption(TEMPLATES["training"], VALUES | {"data_set": "{{ lead }} & <b>"})
