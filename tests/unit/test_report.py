"""The report: one file that asks for no other, with every figure once, and nothing lost or taken for markup."""

import base64
import copy
import html
import json
import re
import struct
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from sealiency.claims.judge import Verdict
from sealiency.config.run import parse_configuration
from sealiency.errors import SealiencyError
from sealiency.report.page import build_report, format_number

CONFIGURATIONS = Path(__file__).parents[2] / "config"
VOID = {"meta", "img", "input", "br", "link", "hr"}
DATA_SET = 'SST <script>alert("1")</script> & more'
NULLS = [{"name": "random weights", "value": 200.0, "interval": None}, {"name": "shuffled", "value": None}]
CLAIM = {
    "claim": "locality",
    "title": "Importance is local",
    "lead": 6,
    "statistic": "radius holding 50 % of the attribution",
    "units": "km",
    "value": 123.4,
    "interval": [110.0, -0.5],
    "seeds": [120.0, None, 130.5],
    "nulls": NULLS,
    "verdict": "supported",
    "reason": "Beyond <all> nulls.",
}
EMPTY = {**CLAIM, "title": "Nothing known", "lead": None, "value": None, "interval": None, "seeds": [], "nulls": []}
FIGURES = {
    "Skill": {"Skill by lead": ["plot_skill/skill"]},
    "Training set": {
        "Mean heatmaps": [f"plot_group/lead{lead}_{pixel}" for lead in (1, 6) for pixel in ("north", "south")],
        "Every pixel": [],
    },
    "Training": {"Learning curves": []},
}


def encode_png(width, height, shade):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = (b"\0" + bytes([shade]) * width) * height
    chunks = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def score(lead, period, predictor, rmse):
    return {"lead": lead, "seed": 0, "period": period, "predictor": predictor, "rmse": rmse, "anomaly_correlation": 0.9}


class Page(HTMLParser):
    """The page's elements in their order, its text, and whether its tags are balanced."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found, self.text, self.cells = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice"
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)
        if {"td", "th"} & set(self.open):
            self.cells[-1] += data

    def all(self, tag):
        return [attrs for name, attrs in self.found if name == tag]


class Run:
    """A folder with tiny figures, captions, findings and a summary."""

    def __init__(self, folder):
        self.folder = folder
        self.figures = {
            part: {kind: [str(folder / f"{name}.png") for name in names] for kind, names in kinds.items()}
            for part, kinds in FIGURES.items()
        }
        self.names = [name for kinds in FIGURES.values() for names in kinds.values() for name in names]
        for number, name in enumerate(self.names):
            path = folder / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(encode_png(4 + number, 3, number))
            path.with_suffix(".txt").write_text(f'Caption of "{name}" & more.\n\nWhat is <seen>.\n', encoding="utf-8")
        stage = dict.fromkeys(("attempts", "memory_asked_mb", "memory_used_mb", "runtime_asked_minutes"))
        stage |= {"jobs": 3, "wall_seconds": 9.5, "runtime_used_minutes": 0.1, "threads": 2, "gpus": 0}
        self.summary = {
            "run": "tiny",
            "skill": [
                score(1, "test", "emulator", 0.25),
                score(1, "test", "persistence", 0.5),
                score(6, "test", "emulator", 0.75),
                score(6, "test", "persistence", 0.5),
                score(6, "test", "ridge", float("nan")),
            ],
            "beats_persistence": {"lead1_seed0": True, "lead6_seed0": False},
            "worst_completeness_error": {"1": 1e-9, "6": float("nan")},
            "stages": {"plan_run": {**stage, "mean_load_percent": float("nan")}},
            "sha256": {"record": "ab" * 32, "emulator_lead1_seed0": "cd" * 32},
            "seeds": [0],
            "versions": {"sealiency": "0.1.0", "commit": "0123456789ab", "torch": "2.9"},
        }
        self.findings = {"rule": "Beyond the nulls.", "claims": [CLAIM, EMPTY]}

    def build(self, **changes):
        (self.folder / "summary.json").write_text(json.dumps(self.summary))
        (self.folder / "findings.json").write_text(json.dumps(self.findings))
        given = {
            "summary": self.folder / "summary.json",
            "figures": self.figures,
            "folder": self.folder,
            "data_set": DATA_SET,
            "configuration": {"run": {"name": "tiny"}, "leads": [1, 6]},
            "findings": self.folder / "findings.json",
        }
        return build_report(**given | changes)


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def test_the_page_is_well_formed_html(run):
    text = run.build()
    assert text.startswith("<!DOCTYPE html>\n<html lang=")
    page = Page(text)
    identities = [attrs["id"] for _, attrs in page.found if "id" in attrs]
    assert len(identities) == len(set(identities))
    named = [attrs[key] for _, attrs in page.found for key in ("aria-labelledby", "for") if key in attrs]
    anchors = [attrs["href"][1:] for attrs in page.all("a") if attrs["href"].startswith("#")]
    assert len(anchors) >= 6
    assert set(named) | set(anchors) <= set(identities)
    (viewport,) = [attrs["content"] for attrs in page.all("meta") if attrs.get("name") == "viewport"]
    assert "width=device-width" in viewport


def test_the_page_asks_for_no_other_file(run):
    text = run.build()
    page = Page(text)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.found}
    assert all(attrs["src"].startswith("data:image/png;base64,") for _, attrs in page.found if "src" in attrs)
    assert not [attrs for _, attrs in page.found if re.match(r"\w+:", attrs.get("href") or "")]
    assert not [name for _, attrs in page.found for name in attrs if name.startswith("on") or name == "srcset"]
    assert "url(" not in text
    assert "@import" not in text


def test_every_figure_stands_there_once_with_its_caption_alternative_and_pdf(run):
    text = run.build()
    page = Page(text)
    images = page.all("img")
    assert len(images) == len(run.names)
    for number, (name, image) in enumerate(zip(run.names, images, strict=True)):
        content = (run.folder / f"{name}.png").read_bytes()
        assert image["src"] == "data:image/png;base64," + base64.b64encode(content).decode()
        assert (image["width"], image["height"]) == (str(4 + number), "3")
        assert image["alt"] == f'Caption of "{name}" & more.'
        assert sum(attrs["href"] == f"{name}.pdf" for attrs in page.all("a")) == 1
        assert "".join(page.text).count(f'Caption of "{name}" & more.') == 1
    assert "".join(page.text).count("What is <seen>.") == len(run.names)


def test_parts_stand_in_order_and_without_figures_not_at_all(run):
    text = run.build()
    headings = re.findall(r"<h2[^>]*>([^<]*)</h2>", text)
    assert headings == ["Findings", "Skill", "Training set", "Table of skill", "Provenance", "Settings", "Resources"]
    assert text.index(CLAIM["title"]) < text.index("<img")
    # One heading for the figures of all leads and pixels.
    assert re.findall(r"<h3[^>]*>([^<]*)</h3>", text) == ["Skill by lead", "Mean heatmaps"]


def test_a_claim_is_one_row_with_its_nulls_and_verdict(run):
    cells = [" ".join(cell.split()) for cell in Page(run.build()).cells]
    at = cells.index("Importance is local, lead 6")
    assert cells[at + 1 : at + 4] == [
        "radius holding 50 % of the attribution (km)",
        "123.4 [110, −0.5]",
        "120 to 130.5 (2 seeds)",
    ]
    assert cells[at + 4].startswith("random weights: 200")
    assert cells[at + 4].endswith("shuffled: –")
    assert cells[at + 5] == "✓ Supported Beyond <all> nulls."
    at = cells.index("Nothing known, all leads")
    assert cells[at + 2 : at + 5] == ["–", "–", "–"]


def test_a_radius_beyond_all_bins_is_infinite_and_not_unknown(run):
    run.findings["claims"] = [{**CLAIM, "value": "Infinity", "interval": [900, "Infinity"]}]
    assert "∞ [900, ∞]" in [" ".join(cell.split()) for cell in Page(run.build()).cells]


@pytest.mark.parametrize("verdict", list(Verdict))
def test_each_verdict_has_its_own_words_sign_and_colour(run, verdict):
    run.findings["claims"] = [{**CLAIM, "verdict": verdict}]
    page = Page(run.build())
    (badge,) = [attrs["class"] for attrs in page.all("span") if "badge" in attrs.get("class", "")]
    assert badge in ("badge good", "badge doubtful", "badge bad", "badge open")
    assert verdict.capitalize() in "".join(page.text)


def test_a_run_without_findings_says_so(run):
    text = run.build(findings=None)
    assert "tests no claims" in text
    Page(text)


def test_leads_without_skill_are_named_before_everything_else(run):
    text = run.build()
    said = "No skill: the lead-6 emulator of seed 0 does not beat persistence on test (RMSE 0.75 against 0.5)."
    assert text.count(said) == 1
    assert text.index(said) < text.index('id="findings"')
    assert "lead-1 emulator" not in text
    run.summary["beats_persistence"]["lead6_seed0"] = True
    assert 'role="note"' not in run.build()


def test_the_smallest_error_of_a_row_is_bold_and_the_unknown_a_dash(run):
    page, text = Page(run.build()), run.build()
    cells = [cell.strip() for cell in page.cells]
    at = cells.index("test", cells.index("test") + 1)
    assert cells[at + 1 : at + 8] == ["0.750", "0.500", "–", "0.900", "0.900", "0.900", "none; persistence is better"]
    assert "<strong>0.500</strong>" in text
    assert "<strong>0.250</strong>" in text


def test_the_bound_is_no_rival_and_gives_the_share_of_gain(run):
    assert "Share of gain" not in run.build()
    run.summary["skill"].append({**score(6, "test", "bound", 0.1), "share_of_gain": 1.0})
    for row in run.summary["skill"]:
        if row["lead"] == 6 and row["period"] == "test" and row["predictor"] == "emulator":
            row["share_of_gain"] = -0.625
    text = run.build()
    assert text.count('rowspan="2">Share of gain</th>') == 1
    assert "\N{MINUS SIGN}0.625" in text
    assert "; persistence is better" in text
    assert "bound is better" not in text


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_what_is_unknown_is_an_en_dash(run, unknown):
    assert format_number(unknown) == "–"
    run.summary["skill"][2]["rmse"] = unknown
    text = run.build()
    assert not re.search(r">\s*(nan|inf|None)\b", text)
    assert "test (RMSE – against 0.5)" in text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (-0.01234567, "−0.01235"), (1234.5678, "1235"), (1.5e-16, "1.5e−16"), (3, "3")]
)
def test_numbers_have_four_digits_and_a_true_minus(value, text):
    assert format_number(value) == text


def test_names_are_text_and_no_markup(run):
    text = run.build()
    assert "<script" not in text
    assert "SST &lt;script&gt;alert(" in text
    assert DATA_SET in "".join(Page(text).text)


def test_provenance_and_settings(run):
    page = Page(run.build())
    said = "".join(page.text)
    for expected in ("0123456789ab", "ab" * 32, "cd" * 32, "torch 2.9"):
        assert expected in said


@pytest.mark.parametrize("name", ["demo", "cobe2", "paper"])
def test_the_settings_of_the_page_are_a_configuration_of_the_same_run(run, name):
    configuration = parse_configuration(yaml.safe_load((CONFIGURATIONS / f"{name}.yaml").read_text()), name)
    text = run.build(configuration=configuration.model_dump(mode="json"))
    settings = re.search(r"<pre[^>]*>(.*?)</pre>", text, re.DOTALL)[1]
    assert parse_configuration(yaml.safe_load(html.unescape(settings)), "the page") == configuration


@pytest.mark.parametrize("suffix", [".png", ".txt"])
@pytest.mark.parametrize("content", [None, b""])
def test_a_missing_or_empty_file_of_a_figure_is_one_clear_error(run, suffix, content):
    path = (run.folder / run.names[2]).with_suffix(suffix)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SealiencyError) as raised:
        run.build()
    assert str(path) in str(raised.value)
    assert "run again" in str(raised.value)


@pytest.mark.parametrize(
    ("key", "value"), [("verdict", "probably"), ("value", "much"), ("nulls", [{"value": 1}]), ("interval", [1])]
)
def test_findings_that_are_none_are_one_clear_error(run, key, value):
    run.findings = copy.deepcopy(run.findings)
    run.findings["claims"][1][key] = value
    with pytest.raises(SealiencyError, match=rf"findings\.json: claims\.1\.{key}.*run again"):
        run.build()


def test_a_summary_that_is_none_is_one_clear_error(run):
    damaged = run.folder / "damaged.json"
    for content in (None, "{"):
        if content:
            damaged.write_text(content)
        with pytest.raises(SealiencyError, match=r"damaged\.json: cannot be read"):
            run.build(summary=damaged)
