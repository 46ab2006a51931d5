"""A variant of the emulator that attends to a map of its own."""

from pydantic import Field

from sealiency.config.base import Section


class Attention(Section):
    """Emulators with attention (LFI-CAM, Lee et al. 2021) beside the run's own: their skill, and their maps (network.kind: dilated)."""

    enabled: bool = False
    """Whether to train them, one a lead and seed."""
    samples: int = Field(default=24, ge=1)
    """Training samples that maps are means of, spread evenly over the training period; all of them if there are fewer."""
    integration_steps: int = Field(default=16, ge=2, le=1000)
    """Steps of the integrated gradients that explain them."""
