"""The paper's claims as numbers beside the nulls that could have produced them, and the rule of the verdicts.

The rule was fixed, here and in docs/findings.md, before any number was looked at.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from sealiency.claims.measures import Measure, count_draws, measure_survey, summarise_seeds
from sealiency.config.findings import FEWEST_BLOCKS, FEWEST_SEEDS, Findings
from sealiency.files import read_netcdf, sha256
from sealiency.provenance import describe_provenance

Side = Literal["greater", "smaller"]


class Verdict(StrEnum):
    """What is said of a claim, by `RULE`."""

    SUPPORTED = "supported"
    EXPLAINED = "explained by the null"
    CONTRADICTED = "contradicted"
    UNDECIDED = "not decidable"


RULE = (
    "An interval holds, for every training seed, the value and the 95 % interval of a moving-block bootstrap over samples. In "
    "this order: a claim is not decidable if an emulator that it rests on does not beat persistence, if there are fewer than "
    f"{FEWEST_SEEDS} training seeds or {FEWEST_BLOCKS} bootstrap blocks, or if it or a null that it needs is missing or has no "
    "value. Where the claim names a bound, it is contradicted if the interval lies wholly on the other side of the bound, and "
    "not decidable if the interval holds the bound. It is explained by a null unless the emulator's interval lies wholly beyond "
    "the null's, on the side that the claim names; a ridge regression that does not beat persistence has no say. A memory that "
    "the emulator without filter does not show, its interval wholly beyond 0, is explained by the filter. What remains is "
    "supported. That there are no teleconnections is judged by the network with a linear bottleneck, which sees every place: "
    "supported if the interval of what it takes more from afar lies below 0.01, explained by the architecture of the run's own "
    "network if it lies above, and not decidable otherwise."
)
# As in JSON, which has no number for it: a radius that ends in the last, open distance bin.
INFINITE = ("Infinity", "-Infinity")
# Share of the attribution below which what comes from afar counts as nothing.
NOTHING = 0.01

# A pattern counts as the same, and a variance as explained, from here on.
NEARLY_ALL = 0.9
# An attribution counts as following the known answer from here on.
FOLLOWS = 0.5
CHANCE = 0.5


@dataclass(frozen=True)
class Statistic:
    """What is measured for a claim."""

    claim: str
    title: str
    key: str
    statistic: str
    units: str
    side: Side
    nulls: tuple[str, ...]
    bound: float | None = None


RANDOM, RIDGE, PIXEL_RIDGE, AR1 = "random weights", "neighbourhood ridge", "pixel ridge", "AR(1), filtered"
PREDICTORS = {"ar1": AR1, "pixel_ridge": PIXEL_RIDGE, "neighbourhood_ridge": RIDGE}
RIDGES = (PIXEL_RIDGE, RIDGE)

# Judged at every lead.
BY_LEAD = (
    Statistic(
        "locality", "Importance is local", "radius_50", "radius that holds 50 % of the attribution, median over pixels", "km",
        "smaller", (RANDOM, RIDGE),
    ),
    Statistic(
        "locality", "Importance is local", "radius_90", "radius that holds 90 % of the attribution, median over pixels", "km",
        "smaller", (RANDOM, RIDGE),
    ),
    Statistic(
        "place", "The monthly pattern does not depend on the place", "common_variance",
        "share of the variance of the monthly curves that one common curve explains", "1", "greater", (RANDOM, AR1), NEARLY_ALL,
    ),
    Statistic(
        "place", "The monthly pattern does not depend on the place", "pattern_correlation",
        "mean correlation of the monthly curves of two pixels", "1", "greater", (RANDOM, AR1), NEARLY_ALL,
    ),
)  # fmt: skip
# Judged by the difference between the longest and the shortest lead.
BETWEEN_LEADS = (
    Statistic(
        "memory", "The longer the lead, the further back the importance", "mean_lag", "mean age of the input months", "months",
        "greater", (AR1, PIXEL_RIDGE), 0.0,
    ),
    Statistic(
        "memory", "The longer the lead, the further back the importance", "recent_share", "share of month \N{MINUS SIGN}1", "1",
        "smaller", (AR1, PIXEL_RIDGE), 0.0,
    ),
    Statistic(
        "memory", "The longer the lead, the further back the importance", "old_share", "share older than 12 months", "1",
        "greater", (AR1, PIXEL_RIDGE), 0.0,
    ),
)  # fmt: skip


def find(
    surveys: Sequence[str],
    linear: Sequence[str],
    skill: Sequence[str],
    agreements: Sequence[str],
    signs: Sequence[str],
    fidelity: Sequence[str],
    settings: Findings,
    leads: Sequence[int],
    has_filter: bool,
    method: str,
    data_set: str,
) -> dict[str, Any]:
    """Measure and judge every claim.

    Parameters
    ----------
    surveys, linear, skill, agreements, signs, fidelity
        Files of the stages; surveys and agreements in the order of their seeds.
    settings
        Draws, seed and distances.
    leads
        Leads of the run, months.
    has_filter
        Whether the run's record is filtered.
    method, data_set
        Attribution method and data set, for the text.

    Returns
    -------
    dict
        `rule`, the rule of the verdicts; `claims`, each with its number, interval, nulls and verdict; `measures`, the same
        numbers for every kind of emulator and null; `method`, `data_set`, and the versions and settings as everywhere.
    """
    without_skill = {
        dataset.attrs["model_sha256"] for dataset in map(read_netcdf, skill) if not dataset.attrs["beats_persistence"]
    }
    measured = measure_all(map(read_netcdf, surveys), map(read_netcdf, linear), without_skill, settings)
    compared, known = ([read_netcdf(path) for path in paths] for paths in (agreements, fidelity))
    claims = [
        *judge_surveys(measured, leads, has_filter),
        *judge_teleconnections(measured, leads, settings.far_km),
        *judge_agreement(compared, measured, settings),
        *judge_signs(map(read_netcdf, signs), measured),
        *judge_fidelity(known, measured, method, has_filter, settings),
    ]
    files = (*surveys, *linear, *skill, *agreements, *signs, *fidelity)
    inputs = {"/".join(Path(path).parts[-2:]): sha256(path) for path in files}
    return {
        "data_set": data_set,
        "method": method,
        "rule": RULE,
        "claims": claims,
        "measures": tabulate_measures(measured),
        "methods": tabulate_methods(compared, known),
        **describe_provenance(settings.model_dump(mode="json"), inputs),
    }


def format_findings(findings: Mapping[str, Any]) -> str:
    """Return findings as Markdown: the judged claims, the measures by lead, and the rule."""
    rows = [
        {
            "claim": claim["title"],
            "lead": "all" if claim["lead"] is None else claim["lead"],
            "statistic": f"{claim['statistic']} ({claim['units']})",
            "emulator": _format(claim["value"], claim["interval"]),
            "seeds": ", ".join(_format(value) for value in claim["seeds"]),
            "nulls": "; ".join(f"{null['name']} {_format(null['value'], null['interval'])}" for null in claim["nulls"]),
            "verdict": f"**{claim['verdict']}**: {claim['reason']}",
        }
        for claim in findings["claims"]
    ]
    return "\n".join(
        [
            f"# Findings on {findings['data_set']}",
            "",
            f"Attributions by {findings['method']}. Value [interval] of the run's own emulators, and of what could have "
            "produced it without any knowledge of the sea.",
            "",
            *_tabulate(rows),
            "",
            "## Measures by lead",
            "",
            *_tabulate(findings["measures"]),
            "",
            "## Methods",
            "",
            "Correlations of heatmaps over months and cells, means over seeds, pixels and samples.",
            "",
            *_tabulate(findings["methods"]),
            "",
            "## The rule of the verdicts",
            "",
            findings["rule"],
            "",
        ]
    )


def _tabulate(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return ["Nothing was measured."]
    cells = [
        [
            _format(cell) if cell is None or isinstance(cell, float) or cell in INFINITE else str(cell)
            for cell in row.values()
        ]
        for row in rows
    ]
    return [
        f"| {' | '.join(cell.replace('|', '/') for cell in line)} |"
        for line in (list(rows[0]), ["---"] * len(rows[0]), *cells)
    ]


def _format(value: float | str | None, interval: Sequence[float | str | None] | None = None) -> str:
    text = "\N{EN DASH}" if value is None else f"{float(value):.3g}".replace("inf", "\N{INFINITY}")
    return text if interval is None else f"{text} [{', '.join(_format(end) for end in interval)}]"


def judge(
    own: Measure | None,
    nulls: Mapping[str, Measure],
    side: Side,
    bound: float | None = None,
    obstacles: Sequence[str] = (),
    explained: Sequence[str] = (),
) -> tuple[Verdict, str]:
    """Return the verdict on a claim and its reason, by `RULE`.

    Parameters
    ----------
    own
        What the emulator shows, or None if it was not measured.
    nulls
        What each null shows, by name.
    side
        On which side of its nulls, and of the bound, the claim says that the emulator lies.
    bound
        What the emulator must lie beyond in any case, or None.
    obstacles
        Why the claim cannot be decided, whatever the numbers.
    explained
        Other nulls that explain the claim, found by other means.
    """
    if obstacles:
        return Verdict.UNDECIDED, "; ".join(obstacles)
    if own is None or not all(math.isfinite(end) for end in (own.value, own.low, own.high)):
        return Verdict.UNDECIDED, "it has no finite value"
    sign = 1 if side == "greater" else -1
    worst, best = sorted((sign * own.low, sign * own.high))
    if bound is not None and best < sign * bound:
        return Verdict.CONTRADICTED, f"the interval lies on the other side of {bound:g}"
    if bound is not None and worst <= sign * bound:
        return Verdict.UNDECIDED, f"the interval holds {bound:g}"
    unknown = [name for name, null in nulls.items() if math.isnan(null.value + null.low) or math.isnan(null.high)]
    if unknown:
        return Verdict.UNDECIDED, f"no value of {', '.join(unknown)}"
    # An infinite end of a null is beyond every number.
    explaining = [name for name, null in nulls.items() if worst <= max(sign * null.low, sign * null.high)]
    explaining += explained
    if explaining:
        return Verdict.EXPLAINED, f"{' and '.join(explaining)} alone would show it too"
    beyond = f"beyond {' and '.join(nulls)}" if nulls else "beyond the bound"
    return Verdict.SUPPORTED, f"the interval lies {beyond}"


@dataclass
class Surveys:
    """The measured series of every emulator and linear null of a run."""

    series: dict[tuple[str, int], list[dict[str, np.ndarray]]] = field(default_factory=dict)
    """By kind ("none" for the run's own, or a control or linear predictor) and lead: one series by name a seed."""
    without_skill: list[tuple[str, int]] = field(default_factory=list)
    """Kinds and leads with an emulator that does not beat persistence."""
    blocks: int = FEWEST_BLOCKS
    """Bootstrap blocks of each survey."""

    def measure(self, kind: str, lead: int, key: str) -> Measure | None:
        """Return a measure over the seeds of one kind and lead, or None if there is none."""
        seeds = self.series.get((kind, lead))
        return summarise_seeds([series[key] for series in seeds]) if seeds else None

    def subtract(self, kinds: tuple[str, str], leads: tuple[int, int], key: str) -> Measure | None:
        """Return the difference of a measure between two kinds or leads, first less second, seed by seed."""
        first, second = (self.series.get((kind, lead)) for kind, lead in zip(kinds, leads, strict=True))
        if not first or not second or len(first) != len(second):
            return None
        return summarise_seeds([a[key] - b[key] for a, b in zip(first, second, strict=True)])

    def has_say(self, name: str, leads: Iterable[int]) -> bool:
        """Tell whether a null may decide: a ridge regression that does not beat persistence may not."""
        return name not in RIDGES or not any((name, lead) in self.without_skill for lead in leads)

    def find_obstacles(self, kind: str, leads: Iterable[int], needed: Sequence[str]) -> list[str]:
        """Return why a claim about emulators of a kind cannot be decided."""
        obstacles = []
        for lead in leads:
            for name in (kind, *needed):
                if (name, lead) in self.without_skill and name not in RIDGES:
                    which = "" if name == "none" else f" ({name})"
                    obstacles.append(f"the lead-{lead} emulator{which} does not beat persistence")
            if self.blocks < FEWEST_BLOCKS:
                obstacles.append(f"the survey has {self.blocks} bootstrap block(s), not {FEWEST_BLOCKS}")
            seeds = len(self.series.get((kind, lead), []))
            if seeds < FEWEST_SEEDS:
                obstacles.append(f"lead {lead} has {seeds} training seed(s), not {FEWEST_SEEDS}")
            obstacles += [f"no {name} at lead {lead}" for name in needed if (name, lead) not in self.series]
        return list(dict.fromkeys(obstacles))


def measure_all(
    surveys: Iterable[xr.Dataset], linear: Iterable[xr.Dataset], without_skill: Collection[str], settings: Findings
) -> Surveys:
    """Measure every survey, and every linear null, on the same draws of the bootstrap.

    Parameters
    ----------
    surveys
        Surveys with the attributes `control` and `lead`, in the order of their seeds.
    linear
        Linear nulls with the dimension `predictor` and the attribute `lead`.
    without_skill
        SHA-256 of the emulators that do not beat persistence.
    settings
        Draws, seed and distances.
    """
    measured = Surveys()
    kinds = {"none": "none", "random": RANDOM}
    for survey in surveys:
        control = survey.attrs["control"]
        place = (kinds.get(control, control), int(survey.attrs["lead"]))
        if survey.attrs["model_sha256"] in without_skill:
            measured.without_skill.append(place)
        measured.blocks = survey.sizes["bootstrap_block"]
        counts = count_draws(measured.blocks, settings.draws, settings.seed)
        measured.series.setdefault(place, []).append(measure_survey(survey, counts, settings.far_km))
    for nulls in linear:
        counts = count_draws(nulls.sizes["bootstrap_block"], settings.draws, settings.seed)
        for predictor, name in PREDICTORS.items():
            series = measure_survey(nulls.sel(predictor=predictor), counts, settings.far_km)
            measured.series[name, int(nulls.attrs["lead"])] = [series]
            rmse = float(nulls["validation_rmse"].sel(predictor=predictor).mean(skipna=False))
            # A ridge that could not be fitted has no value, which is another matter.
            if name in RIDGES and rmse >= float(nulls["persistence_rmse"].mean(skipna=False)):
                measured.without_skill.append((name, int(nulls.attrs["lead"])))
    return measured


def judge_surveys(measured: Surveys, leads: Sequence[int], has_filter: bool) -> list[dict[str, Any]]:
    """Return the claims on locality, place and memory, judged.

    Parameters
    ----------
    measured
        The measured series.
    leads
        Leads of the run, months.
    has_filter
        Whether the run's record is filtered: then the memory must be there without the filter as well.
    """
    claims = []
    for statistic in BY_LEAD:
        for lead in sorted(leads):
            own = measured.measure("none", lead, statistic.key)
            nulls = {
                name: null
                for name in statistic.nulls
                if (null := measured.measure(name, lead, statistic.key)) is not None
            }
            obstacles = measured.find_obstacles("none", [lead], statistic.nulls)
            verdict = _judge_heard(measured, statistic, [lead], own, nulls, obstacles)
            claims.append(_describe(statistic, lead, own, nulls, verdict))
    shortest, longest = min(leads), max(leads)
    for statistic in BETWEEN_LEADS:
        pair = (longest, shortest)
        own = measured.subtract(("none", "none"), pair, statistic.key)
        nulls = {
            name: null
            for name in statistic.nulls
            if (null := measured.subtract((name, name), pair, statistic.key)) is not None
        }
        unfiltered = measured.subtract(("unfiltered", "unfiltered"), pair, statistic.key) if has_filter else None
        needed = (*statistic.nulls, "unfiltered") if has_filter else statistic.nulls
        obstacles = measured.find_obstacles("none", pair, needed)
        if shortest == longest:
            obstacles.append("there is one lead")
        explained = []
        if unfiltered is not None and not math.isfinite(unfiltered.low + unfiltered.high):
            obstacles.append("the unfiltered emulator has no value")
        elif unfiltered is not None:
            vanishes = judge(unfiltered, {}, statistic.side, statistic.bound)[0] != Verdict.SUPPORTED
            explained = ["the filter, without which the emulator does not show it,"] if vanishes else []
        verdict = _judge_heard(measured, statistic, pair, own, nulls, obstacles, explained)
        shown = nulls | ({"unfiltered anomalies": unfiltered} if unfiltered is not None else {})
        claim = _describe(statistic, None, own, shown, verdict)
        claim["statistic"] += f", lead {longest} less lead {shortest}"
        claims.append(claim)
    return claims


def _judge_heard(
    measured: Surveys,
    statistic: Statistic,
    leads: Sequence[int],
    own: Measure | None,
    nulls: Mapping[str, Measure],
    obstacles: Sequence[str],
    explained: Sequence[str] = (),
) -> tuple[Verdict, str]:
    """Judge a claim beside the nulls that have a say, and name in the reason those that have none."""
    heard = {name: null for name, null in nulls.items() if measured.has_say(name, leads)}
    verdict, reason = judge(own, heard, statistic.side, statistic.bound, obstacles, explained)
    silent = [name for name in nulls if name not in heard]
    if silent and verdict in (Verdict.SUPPORTED, Verdict.EXPLAINED):
        reason += f"; {' and '.join(silent)}, without skill, had no say"
    return verdict, reason


def judge_teleconnections(measured: Surveys, leads: Sequence[int], far_km: float) -> list[dict[str, Any]]:
    """Return the claim that nothing comes from afar, judged on the network that could see it.

    The paper's network cannot see far, so it says nothing. If the network with a linear layer at the bottleneck, which sees
    every place, takes more from afar, the architecture alone explained why the other did not.

    Parameters
    ----------
    measured
        The measured series.
    leads
        Leads of the run, months.
    far_km
        Distance beyond which a contribution is far, km.
    """
    statistic = Statistic(
        "teleconnections",
        "There are no teleconnections",
        "far_share",
        f"share from beyond {far_km:g} km, linear bottleneck less the run's own network",
        "1",
        "smaller",
        (),
    )
    claims = []
    for lead in sorted(leads):
        own = measured.subtract(("bottleneck", "none"), (lead, lead), statistic.key)
        obstacles = measured.find_obstacles("none", [lead], ["bottleneck"])
        if obstacles or own is None or not math.isfinite(own.low + own.high):
            verdict = Verdict.UNDECIDED, "; ".join(obstacles) or "it has no value for the same seeds"
        elif own.low > NOTHING:
            verdict = (
                Verdict.EXPLAINED,
                "a network that sees every place takes more from afar, so that the other took nothing is its architecture's "
                "doing; whether what comes from afar is there, this does not tell",
            )
        elif own.high < NOTHING:
            verdict = Verdict.SUPPORTED, "a network that sees every place takes no more from afar"
        else:
            verdict = Verdict.UNDECIDED, f"the interval holds {NOTHING:g}"
        shown = {
            name: value
            for name, kind in (("run's own network", "none"), ("linear bottleneck", "bottleneck"))
            if (value := measured.measure(kind, lead, statistic.key)) is not None
        }
        claims.append(_describe(statistic, lead, own, shown, verdict))
    return claims


def judge_agreement(agreements: Iterable[xr.Dataset], measured: Surveys, settings: Findings) -> list[dict[str, Any]]:
    """Return the claim that integrated gradients and DeepLIFT agree, judged at every lead.

    Parameters
    ----------
    agreements
        Correlations of methods, with the attributes `control` and `lead`, in the order of their seeds.
    measured
        The measured series, for the emulators without skill.
    settings
        Draws and seed.
    """
    series: dict[tuple[str, int], list[np.ndarray]] = {}
    for agreement in agreements:
        pair = agreement["correlation"].loc[{"method": "deeplift", "other": "integrated_gradients"}].values
        place = (agreement.attrs["control"], int(agreement.attrs["lead"]))
        series.setdefault(place, []).append(_average(pair, settings))
    claims = []
    for lead in sorted({lead for _, lead in series}):
        own, null = (
            summarise_seeds(found) if (found := series.get((kind, lead))) else None for kind in ("none", "random")
        )
        obstacles = measured.find_obstacles("none", [lead], ())
        obstacles += [] if null else [f"no {RANDOM} at lead {lead}"]
        nulls = {RANDOM: null} if null else {}
        statistic = "correlation of the heatmaps of integrated gradients and DeepLIFT"
        verdict = judge(own, nulls, "greater", NEARLY_ALL, obstacles)
        title = "Integrated gradients and DeepLIFT agree, which speaks for them"
        claims.append(describe_claim("agreement", title, lead, statistic, "1", own, nulls, verdict))
    return claims


def judge_signs(signs: Iterable[xr.Dataset], measured: Surveys) -> list[dict[str, Any]]:
    """Return the claim that a positive attribution raises the output and a negative one lowers it, judged at every lead.

    In every seed, the pixel and combination in which it holds least often speaks for all.

    Parameters
    ----------
    signs
        Sign checks, with the attribute `lead`, in the order of their seeds.
    measured
        The measured series, for the emulators without skill.
    """
    by_lead: dict[int, list[xr.Dataset]] = {}
    for checked in signs:
        by_lead.setdefault(int(checked.attrs["lead"]), []).append(checked.isel(checked["fraction"].argmin(...)))
    claims = []
    for lead, least in sorted(by_lead.items()):
        values, lows, highs = (
            [float(one[name]) for one in least] for name in ("fraction", "fraction_low", "fraction_high")
        )
        own = Measure(float(np.mean(values)), min(lows), max(highs), values)
        verdict = judge(own, {}, "greater", CHANCE, measured.find_obstacles("none", [lead], ()))
        statistic = "fraction of samples in which the output moves as the sign says, where it does least often"
        title = "A positive attribution raises the output, a negative one lowers it"
        claims.append(describe_claim("signs", title, lead, statistic, "1", own, {}, verdict))
    return claims


def judge_fidelity(
    fidelities: Iterable[xr.Dataset], measured: Surveys, method: str, has_filter: bool, settings: Findings
) -> list[dict[str, Any]]:
    """Return the claim that attributions follow the known answer, judged at every lead, with the filter and without.

    Parameters
    ----------
    fidelities
        Comparisons with the best linear predictor: `correlation` (emulator, method, pixel, sample), with emulators named
        by kind and seed; attributes `lead` and `filter_width_months`.
    measured
        The measured series, for the emulators without skill.
    method
        Method of the mean heatmaps, which the claim is about.
    has_filter
        Whether the run's record is filtered.
    settings
        Draws and seed.
    """
    claims = []
    for fidelity in fidelities:
        lead, filtered = int(fidelity.attrs["lead"]), int(fidelity.attrs["filter_width_months"]) > 1
        by_kind: dict[str, list[np.ndarray]] = {}
        samples = fidelity["correlation"].loc[{"method": method}].mean("pixel", skipna=False)
        for name in samples["emulator"].values.tolist():
            values = samples.sel(emulator=name).values
            by_kind.setdefault(name.split("_seed")[0], []).append(_average(values, settings))
        own = summarise_seeds(by_kind.pop("trained"))
        names = {"random": RANDOM, "shuffled": "shuffled targets"}
        nulls = {name: summarise_seeds(by_kind[kind]) for kind, name in names.items() if kind in by_kind}
        # Shuffled targets are trained on the run's own record only.
        of_run = filtered == has_filter
        needed = names.values() if of_run else [RANDOM]
        obstacles = measured.find_obstacles("none" if of_run else "unfiltered", [lead], ())
        obstacles += [f"no {name} at lead {lead}" for name in needed if name not in nulls]
        statistic = f"correlation with the best linear predictor, {'with' if filtered else 'without'} filter, {method}"
        verdict = judge(own, nulls, "greater", FOLLOWS, obstacles)
        title = "Attributions follow the known answer"
        claims.append(describe_claim("fidelity", title, lead, statistic, "1", own, nulls, verdict))
    return claims


def tabulate_methods(agreements: Iterable[xr.Dataset], fidelities: Iterable[xr.Dataset]) -> list[dict[str, Any]]:
    """Return what every method comes to, one row a lead, kind of emulator and method, means over seeds, pixels and samples.

    Parameters
    ----------
    agreements, fidelities
        Correlations of methods with each other, and with the best linear predictor where it is known.
    """
    found: dict[tuple[int, str, str], dict[str, list[float]]] = {}

    def add(lead: int, kind: str, method: str, column: str, value: float) -> None:
        found.setdefault((lead, kind, method), {}).setdefault(column, []).append(value)

    for agreement in agreements:
        kind = "trained" if agreement.attrs["control"] == "none" else agreement.attrs["control"]
        mean = agreement["correlation"].mean("sample", skipna=False)
        for method in mean["method"].values.tolist():
            for other in mean["other"].values.tolist():
                value = float(mean.loc[{"method": method, "other": other}])
                add(int(agreement.attrs["lead"]), kind, method, f"r with {other}", value)
    for fidelity in fidelities:
        record = "with" if int(fidelity.attrs["filter_width_months"]) > 1 else "without"
        mean = fidelity["correlation"].mean(("pixel", "sample"), skipna=False)
        for name in mean["emulator"].values.tolist():
            for method in mean["method"].values.tolist():
                value = float(mean.loc[{"emulator": name, "method": method}])
                column = f"r with the known answer, {record} filter"
                add(int(fidelity.attrs["lead"]), name.split("_seed")[0], method, column, value)
    columns = list(dict.fromkeys(column for values in found.values() for column in values))
    return [
        {"lead": lead, "kind": kind, "method": method}
        | {column: _plain(float(np.mean(values.get(column, [math.nan])))) for column in columns}
        for (lead, kind, method), values in sorted(
            found.items(), key=lambda item: (item[0][0], item[0][1] != "trained")
        )
    ]


def _average(samples: np.ndarray, settings: Findings) -> np.ndarray:
    """Return the mean over samples and its draws, as a series."""
    counts = count_draws(len(samples), settings.draws, settings.seed)
    return np.asarray(counts @ samples / counts.sum(1))


def tabulate_measures(measured: Surveys) -> list[dict[str, Any]]:
    """Return every measure of every kind of emulator and null, one row a kind and lead."""
    keys = [*(statistic.key for statistic in (*BY_LEAD, *BETWEEN_LEADS)), "far_share"]
    rows = []
    for kind, lead in sorted(measured.series, key=lambda place: (place[1], place[0] != "none", place[0])):
        row: dict[str, Any] = {"lead": lead, "kind": "emulator" if kind == "none" else kind}
        for key in keys:
            measure = measured.measure(kind, lead, key)
            assert measure is not None
            row[key] = _plain(measure.value)
        rows.append(row)
    return rows


def describe_claim(
    claim: str,
    title: str,
    lead: int | None,
    statistic: str,
    units: str,
    own: Measure | None,
    nulls: Mapping[str, Measure],
    verdict: tuple[Verdict, str],
) -> dict[str, Any]:
    """Return a judged claim as plain values: None where nothing is known, and "Infinity", which JSON has no number for."""
    return {
        "claim": claim,
        "title": title,
        "lead": lead,
        "statistic": statistic,
        "units": units,
        "value": None if own is None else _plain(own.value),
        "interval": None if own is None else [_plain(own.low), _plain(own.high)],
        "seeds": [] if own is None else [_plain(value) for value in own.seeds],
        "nulls": [
            {"name": name, "value": _plain(null.value), "interval": [_plain(null.low), _plain(null.high)]}
            for name, null in nulls.items()
        ],
        "verdict": verdict[0].value,
        "reason": verdict[1],
    }


def _describe(
    statistic: Statistic,
    lead: int | None,
    own: Measure | None,
    nulls: Mapping[str, Measure],
    verdict: tuple[Verdict, str],
) -> dict[str, Any]:
    return describe_claim(
        statistic.claim, statistic.title, lead, statistic.statistic, statistic.units, own, nulls, verdict
    )


def _plain(value: float) -> float | str | None:
    if math.isinf(value):
        return INFINITE[value < 0]
    return None if math.isnan(value) else float(f"{value:.4g}")
