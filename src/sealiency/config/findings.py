"""What the findings are measured on, and beside which controls."""

from typing import Literal

from pydantic import Field

from sealiency.config.base import Section

Control = Literal["random", "shuffled", "unfiltered", "bottleneck"]
# An interval over seeds of fewer says nothing.
FEWEST_SEEDS = 3
# Nor do draws of fewer blocks.
FEWEST_BLOCKS = 8


class Findings(Section):
    """The paper's claims as numbers beside their nulls; docs/findings.md has the rule of the verdicts."""

    controls: list[Control] = ["random"]
    """Emulators made for comparison at every lead: `random` weights; trained on `shuffled` targets; trained on `unfiltered`
    anomalies; with a linear layer over the whole coarsest grid at the `bottleneck`. Shuffled ones get the first
    of training.seeds, the others all. Without a control, a claim that needs it is not decidable. All but random
    weights are trained like the run's own emulators."""
    stride: int = Field(default=8, ge=1)
    """Every so many rows and columns an ocean pixel is surveyed, for all emulators alike."""
    samples: int = Field(default=128, ge=1)
    """Training samples surveyed, spread evenly over the training period; all of them if there are fewer."""
    bootstrap_block: int = Field(default=4, ge=1)
    """Surveyed samples that are kept together as one; the moving-block bootstrap draws runs of these."""
    draws: int = Field(default=1000, ge=100, le=1_000_000)
    """Draws of the bootstrap."""
    seed: int = Field(default=0, ge=0)
    """Seed of the bootstrap's draws."""
    neighbourhood_km: float = Field(default=3500, gt=0, le=20015)
    """Cells within this distance of a pixel are predictors of its ridge regression; far enough to hold what the emulator uses,
    or the regression is the more local one by construction."""
    far_km: float = Field(default=3000, gt=0, le=20015)
    """Distance beyond which a contribution counts as a teleconnection: from the next of attribution.distance_edges on."""
    simulated_years: int = Field(default=2000, ge=100, le=1_000_000)
    """Years of the embedded world simulated for its best linear predictor (data.source: synthetic)."""
