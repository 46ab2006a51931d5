"""The measured surveys of a run: what each kind of emulator and each linear null shows, seed by seed."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from sealiency.claims.measures import Measure, count_draws, measure_survey, summarise_seeds
from sealiency.config.findings import FEWEST_BLOCKS, FEWEST_SEEDS, Findings

RANDOM, RIDGE, PIXEL_RIDGE, AR1 = "random weights", "neighbourhood ridge", "pixel ridge", "AR(1), filtered"
PREDICTORS = {"ar1": AR1, "pixel_ridge": PIXEL_RIDGE, "neighbourhood_ridge": RIDGE}
RIDGES = (PIXEL_RIDGE, RIDGE)


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
