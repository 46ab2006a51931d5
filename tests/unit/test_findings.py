import json
import math

import numpy as np
import pytest
import xarray as xr

from sealiency.claims import agreement as agreement_claim
from sealiency.claims import known_answer, locality, memory, place, signs, teleconnections
from sealiency.claims.evidence import Evidence
from sealiency.claims.findings import find
from sealiency.claims.judge import RULE, Verdict, judge
from sealiency.claims.measures import Measure
from sealiency.claims.surveys import AR1, PIXEL_RIDGE, RANDOM, RIDGE, Surveys
from sealiency.claims.tables import tabulate_measures, tabulate_methods
from sealiency.claims.telling import format_findings
from sealiency.config.findings import Findings


def give(measured: Surveys, leads=(1, 9), has_filter=True, settings=None, **more) -> Evidence:
    """What a claim is judged on, with nothing where a test needs nothing."""
    nothing = {"agreements": [], "signs": [], "fidelities": [], "method": "deeplift"}
    return Evidence(measured, settings=settings or Findings(), leads=leads, has_filter=has_filter, **nothing | more)


def judge_surveys(measured: Surveys, leads, has_filter: bool) -> list[dict]:
    evidence = give(measured, leads, has_filter)
    return [judged for claim in (locality, place, memory) for judged in claim.find(evidence)]


def interval(low, high):
    return Measure((low + high) / 2, low, high, [low, high])


@pytest.mark.parametrize(
    ("own", "null", "side", "bound", "verdict"),
    [
        (interval(1, 2), interval(3, 4), "smaller", None, Verdict.SUPPORTED),
        (interval(1, 3), interval(3, 4), "smaller", None, Verdict.EXPLAINED),
        (interval(5, 6), interval(3, 4), "smaller", None, Verdict.EXPLAINED),
        (interval(5, 6), interval(3, 4), "greater", None, Verdict.SUPPORTED),
        (interval(4, 6), interval(3, 4), "greater", None, Verdict.EXPLAINED),
        (interval(1, 2), interval(3, 4), "greater", None, Verdict.EXPLAINED),
        (interval(1, 2), interval(-1, 0.5), "greater", 0, Verdict.SUPPORTED),
        (interval(-1, 2), interval(-9, -8), "greater", 0, Verdict.UNDECIDED),
        (interval(-2, -1), interval(-9, -8), "greater", 0, Verdict.CONTRADICTED),
        (interval(1, 2), interval(3, 4), "smaller", 0, Verdict.CONTRADICTED),
        (interval(-2, -1), interval(0, 1), "smaller", 0, Verdict.SUPPORTED),
        (interval(1, 2), interval(3, math.inf), "smaller", None, Verdict.SUPPORTED),
        (interval(1, math.inf), interval(3, 4), "smaller", None, Verdict.UNDECIDED),
        (interval(1, 2), interval(math.nan, math.nan), "smaller", None, Verdict.UNDECIDED),
        (interval(1, 2), Measure(math.nan, 3, 4, [3, math.nan]), "smaller", None, Verdict.UNDECIDED),
    ],
)
def test_verdict_follows_the_rule(own, null, side, bound, verdict):
    assert judge(own, {"null": null}, side, bound)[0] == verdict


def test_every_null_must_be_beaten_and_the_others_are_not_named():
    verdict, reason = judge(interval(1, 2), {"far": interval(5, 6), "near": interval(1.5, 3)}, "smaller")
    assert verdict == Verdict.EXPLAINED
    assert reason.startswith("near alone")


def test_obstacles_come_before_numbers():
    assert judge(interval(1, 2), {"null": interval(3, 4)}, "smaller", obstacles=["no skill"]) == (
        Verdict.UNDECIDED,
        "no skill",
    )
    assert judge(None, {}, "smaller")[0] == Verdict.UNDECIDED


def series(**values):
    """Return one seed's series, all draws equal to the value."""
    keys = ("radius_50", "radius_90", "recent_share", "old_share", "mean_lag", "far_share")
    keys += ("common_variance", "pattern_correlation")
    return {key: np.full(201, float(values.get(key, 0.5))) for key in keys}


def measured(own, random=None, **others) -> Surveys:
    """Return three seeds of own and random emulators at leads 1 and 9, and one of each other kind."""
    made = Surveys()
    for lead in (1, 9):
        made.series["none", lead] = [series(**own[lead])] * 3
        made.series[RANDOM, lead] = [series(**(random or own)[lead])] * 3
        for name in (AR1, PIXEL_RIDGE, RIDGE, "unfiltered"):
            made.series[name, lead] = [series(**others.get(name, own)[lead])]
    return made


LATER = {
    1: {"mean_lag": 3, "recent_share": 0.6, "old_share": 0.1},
    9: {"mean_lag": 6, "recent_share": 0.4, "old_share": 0.3},
}
FLAT = {1: LATER[1], 9: LATER[1]}


def verdicts(claims, name):
    return [claim["verdict"] for claim in claims if claim["claim"] == name]


def test_memory_that_neither_persistence_nor_filter_shows_is_supported():
    made = measured(LATER, **{AR1: FLAT, PIXEL_RIDGE: FLAT, "unfiltered": LATER})
    assert verdicts(judge_surveys(made, [1, 9], True), "memory") == [Verdict.SUPPORTED] * 3


def test_memory_of_a_filtered_ar1_process_is_explained():
    made = measured(LATER, **{AR1: LATER, PIXEL_RIDGE: FLAT, "unfiltered": LATER})
    claims = [claim for claim in judge_surveys(made, [1, 9], True) if claim["claim"] == "memory"]
    assert [claim["verdict"] for claim in claims] == [Verdict.EXPLAINED] * 3
    assert all(claim["reason"].startswith(AR1) for claim in claims)
    assert [claim["value"] for claim in claims] == pytest.approx([3, -0.2, 0.2])


def test_memory_that_vanishes_without_the_filter_is_the_filter_s():
    made = measured(LATER, **{AR1: FLAT, PIXEL_RIDGE: FLAT, "unfiltered": FLAT})
    claims = [claim for claim in judge_surveys(made, [1, 9], True) if claim["claim"] == "memory"]
    assert all(claim["verdict"] == Verdict.EXPLAINED and "filter" in claim["reason"] for claim in claims)
    # Where the record has no filter there is nothing to take away.
    assert verdicts(judge_surveys(made, [1, 9], False), "memory") == [Verdict.SUPPORTED] * 3


def test_memory_needs_two_leads():
    made = measured(LATER, **{AR1: FLAT, PIXEL_RIDGE: FLAT, "unfiltered": LATER})
    assert verdicts(judge_surveys(made, [9], True), "memory") == [Verdict.UNDECIDED] * 3


def test_locality_is_judged_at_every_lead_against_random_weights_and_ridge():
    own = {1: {"radius_50": 100, "radius_90": 400}, 9: {"radius_50": 300, "radius_90": 400}}
    wide = {1: {"radius_50": 200, "radius_90": 500}, 9: {"radius_50": 200, "radius_90": math.inf}}
    made = measured(own, random=wide, **{RIDGE: wide})
    assert verdicts(judge_surveys(made, [1, 9], True), "locality") == [
        Verdict.SUPPORTED,
        Verdict.EXPLAINED,
        Verdict.SUPPORTED,
        Verdict.SUPPORTED,
    ]


@pytest.mark.parametrize("missing", [RANDOM, RIDGE])
def test_missing_null_makes_locality_undecidable_and_is_named(missing):
    made = measured(LATER)
    del made.series[missing, 1]
    (claim,) = [c for c in judge_surveys(made, [1, 9], True) if c["lead"] == 1 and "50 %" in c["statistic"]]
    assert claim["verdict"] == Verdict.UNDECIDED
    assert missing in claim["reason"]


def test_two_seeds_or_no_skill_decide_nothing():
    made = measured(LATER, **{AR1: FLAT, PIXEL_RIDGE: FLAT, "unfiltered": LATER})
    made.without_skill.append(("none", 9))
    made.series["none", 1] = made.series["none", 1][:2]
    claims = judge_surveys(made, [1, 9], True)
    assert {claim["verdict"] for claim in claims} == {Verdict.UNDECIDED}
    assert any("2 training seed(s), not 3" in claim["reason"] for claim in claims)
    assert any("does not beat persistence" in claim["reason"] for claim in claims)


def test_too_few_bootstrap_blocks_decide_nothing():
    made = measured(LATER, **{AR1: FLAT, PIXEL_RIDGE: FLAT, "unfiltered": LATER})
    made.blocks = 7
    assert verdicts(judge_surveys(made, [1, 9], True), "memory") == [Verdict.UNDECIDED] * 3


@pytest.mark.parametrize(
    ("far", "verdict"),
    [(0.4, Verdict.SUPPORTED), (0.505, Verdict.SUPPORTED), (0.7, Verdict.EXPLAINED), (math.nan, Verdict.UNDECIDED)],
)
def test_network_that_sees_far_judges_the_absence_of_teleconnections(far, verdict):
    made = measured(LATER)
    made.series["bottleneck", 1] = [series(far_share=far)] * 3
    (claim,) = teleconnections.find(give(made, [1]))
    assert claim["verdict"] == verdict
    for kind in ("bottleneck", "none"):
        made.without_skill = [(kind, 1)]
        assert teleconnections.find(give(made, [1]))[0]["verdict"] == Verdict.UNDECIDED


def test_wide_interval_of_what_comes_from_afar_decides_nothing():
    made = measured(LATER)
    wide = series()
    wide["far_share"] = np.linspace(0.4, 1.4, 201)
    made.series["bottleneck", 1] = [wide] * 3
    (claim,) = teleconnections.find(give(made, [1]))
    assert (claim["verdict"], claim["reason"]) == (Verdict.UNDECIDED, "the interval holds 0.01")
    del made.series["bottleneck", 1]
    assert "no bottleneck at lead 1" in teleconnections.find(give(made, [1]))[0]["reason"]


def test_ridge_without_skill_has_no_say():
    own = {1: {"radius_50": 100}, 9: {"radius_50": 100}}
    wide = {1: {"radius_50": 200}, 9: {"radius_50": 200}}
    made = measured(own, random=wide, **{RIDGE: own})
    first = judge_surveys(made, [1, 9], True)[0]
    assert (first["verdict"], first["reason"]) == (Verdict.EXPLAINED, f"{RIDGE} alone would show it too")
    made.without_skill.append((RIDGE, 1))
    first = judge_surveys(made, [1, 9], True)[0]
    reason = f"the interval lies beyond {RANDOM}; {RIDGE}, without skill, had no say"
    assert (first["verdict"], first["reason"]) == (Verdict.SUPPORTED, reason)
    # It is shown all the same.
    assert [null["name"] for null in first["nulls"]] == [RANDOM, RIDGE]


def test_unfiltered_emulator_without_a_value_decides_nothing():
    nothing = {lead: dict.fromkeys(("mean_lag", "recent_share", "old_share"), math.nan) for lead in (1, 9)}
    made = measured(LATER, **{AR1: FLAT, PIXEL_RIDGE: FLAT, "unfiltered": nothing})
    assert verdicts(judge_surveys(made, [1, 9], True), "memory") == [Verdict.UNDECIDED] * 3


def agreement(control, values):
    methods = ["deeplift", "integrated_gradients"]
    values = np.asarray(values, float)
    matrix = np.stack([np.stack([np.ones_like(values), values], -1), np.stack([values, np.ones_like(values)], -1)], -2)
    return xr.Dataset(
        {"correlation": (("sample", "method", "other"), matrix)},
        coords={"method": methods, "other": methods},
        attrs={"control": control, "lead": 1},
    )


def test_agreement_that_random_weights_show_too_is_no_evidence():
    settings, high = Findings(draws=100), np.linspace(0.97, 0.99, 12)
    own = [agreement("none", high)] * 3
    (claim,) = agreement_claim.find(
        give(measured(LATER), agreements=[*own, agreement("random", high)], settings=settings)
    )
    assert claim["verdict"] == Verdict.EXPLAINED
    (claim,) = agreement_claim.find(
        give(measured(LATER), agreements=[*own, agreement("random", high - 0.5)], settings=settings)
    )
    assert claim["verdict"] == Verdict.SUPPORTED
    assert claim["value"] == pytest.approx(0.98)


def test_sign_reading_is_as_good_as_its_worst_combination():
    checked = xr.Dataset(
        {
            "fraction": (("combination", "pixel"), [[0.9, 0.95], [0.8, 0.7]]),
            "fraction_low": (("combination", "pixel"), [[0.8, 0.85], [0.7, 0.6]]),
            "fraction_high": (("combination", "pixel"), [[0.95, 1.0], [0.9, 0.8]]),
        },
        coords={"combination": ["x>0, a>0", "x<0, a<0"], "pixel": ["north", "south"]},
        attrs={"lead": 1},
    )
    (claim,) = signs.find(give(measured(LATER), signs=[checked] * 3))
    assert (claim["value"], claim["interval"], claim["verdict"]) == (0.7, [0.6, 0.8], Verdict.SUPPORTED)
    other = checked.copy(deep=True)
    other["fraction_low"][1, 1] = 0.4
    assert signs.find(give(measured(LATER), signs=[checked, other, checked]))[0]["verdict"] == Verdict.UNDECIDED


def fidelity(trained, random, shuffled=None, width=12):
    kinds = {"trained": trained, "random": random} | ({} if shuffled is None else {"shuffled": shuffled})
    names = [f"{kind}_seed{seed}" for kind in kinds for seed in ((0,) if kind == "shuffled" else (0, 1, 2))]
    values = np.stack([np.full((1, 2, 12), kinds[name.split("_")[0]]) for name in names])
    return xr.Dataset(
        {"correlation": (("emulator", "method", "pixel", "sample"), values)},
        coords={"emulator": names, "method": ["deeplift"], "pixel": ["a", "b"]},
        attrs={"lead": 1, "filter_width_months": width},
    )


@pytest.mark.parametrize(
    ("correlations", "verdict"),
    [
        ((0.9, 0.3, 0.2), Verdict.SUPPORTED),
        ((0.9, 0.3, 0.95), Verdict.EXPLAINED),
        ((0.9, 0.95, 0.2), Verdict.EXPLAINED),
        ((0.4, 0.1, 0.1), Verdict.CONTRADICTED),
        ((0.9, 0.3, None), Verdict.UNDECIDED),
    ],
)
def test_attributions_follow_the_known_answer_only_beyond_both_controls(correlations, verdict):
    (claim,) = known_answer.find(
        give(measured(LATER), fidelities=[fidelity(*correlations)], settings=Findings(draws=100))
    )
    assert claim["verdict"] == verdict
    assert len(claim["seeds"]) == 3


def test_without_filter_the_known_answer_needs_the_unfiltered_emulators():
    made = measured(LATER)
    compared = [fidelity(0.9, 0.3, width=1)]
    settings = Findings(draws=100)
    assert known_answer.find(give(made, fidelities=compared, settings=settings))[0]["verdict"] == Verdict.UNDECIDED
    made.series["unfiltered", 1] *= 3
    assert known_answer.find(give(made, fidelities=compared, settings=settings))[0]["verdict"] == Verdict.SUPPORTED
    # A run without a filter has emulators of its own for it, and shuffled targets beside them.
    assert (
        "no shuffled targets"
        in known_answer.find(give(made, has_filter=False, fidelities=compared, settings=settings))[0]["reason"]
    )
    compared = [fidelity(0.9, 0.3, 0.2, width=1)]
    assert (
        known_answer.find(give(made, has_filter=False, fidelities=compared, settings=settings))[0]["verdict"]
        == Verdict.SUPPORTED
    )


def test_table_of_methods_holds_means_over_seeds():
    rows = tabulate_methods([agreement("none", [0.8] * 4), agreement("none", [0.6] * 4)], [fidelity(0.9, 0.3, 0.2)])
    (lift,) = [row for row in rows if row["method"] == "deeplift" and row["kind"] == "trained"]
    assert lift["r with integrated_gradients"] == pytest.approx(0.7)
    assert lift["r with the known answer, with filter"] == pytest.approx(0.9)
    (shuffled,) = [row for row in rows if row["kind"] == "shuffled"]
    assert shuffled["r with deeplift"] is None


def test_every_claim_is_among_the_findings_of_files(tmp_path):
    compared, signs, correlations = fidelity(0.9, 0.3, 0.2), tmp_path / "signs.nc", tmp_path / "agreement.nc"
    compared.to_netcdf(tmp_path / "fidelity.nc")
    agreement("none", [0.9] * 12).to_netcdf(correlations)
    fractions = {name: ("combination", [0.9]) for name in ("fraction", "fraction_low", "fraction_high")}
    xr.Dataset(fractions, attrs={"lead": 1}).to_netcdf(signs)
    found = find(
        surveys=[],
        linear=[],
        skill=[],
        agreements=[str(correlations)],
        signs=[str(signs)],
        fidelity=[str(tmp_path / "fidelity.nc")],
        settings=Findings(draws=100),
        leads=[1, 9],
        has_filter=True,
        method="deeplift",
        data_set="a sea",
    )
    claims = {claim["claim"] for claim in found["claims"]}
    assert claims == {"locality", "place", "memory", "teleconnections", "agreement", "signs", "fidelity"}
    # Nothing was surveyed, so nothing can be decided.
    assert {claim["verdict"] for claim in found["claims"]} == {Verdict.UNDECIDED}
    assert set(json.loads(found["inputs_sha256"])) == {
        f"{tmp_path.name}/{name}.nc" for name in ("fidelity", "agreement", "signs")
    }
    assert {row["kind"] for row in found["methods"]} == {"trained", "random", "shuffled"}


def test_findings_are_plain_json_and_readable_text():
    own = {1: {"radius_50": math.inf}, 9: {}}
    made = measured(own)
    found = {
        "data_set": "a | sea",
        "method": "deeplift",
        "rule": RULE,
        "claims": judge_surveys(made, [1, 9], True),
        "measures": tabulate_measures(made),
        "methods": [],
    }
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    text = format_findings(found)
    assert "Importance is local" in text
    assert found["claims"][0]["value"] == found["measures"][0]["radius_50"] == "Infinity"
    assert "| ∞ [" in text
    assert RULE in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {8, len(found["measures"][0]) + 1}
