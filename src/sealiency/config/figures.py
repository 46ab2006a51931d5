"""How figures look."""

from typing import Literal

from pydantic import Field

from sealiency.config.base import Section


class Figures(Section):
    """Appearance of the figures; changing it reruns no computation."""

    colormap: Literal["RdBu_r", "PuOr_r", "BrBG_r", "PRGn_r", "coolwarm", "vanimo", "berlin", "managua"] = "RdBu_r"
    """Diverging, colour-blind-safe colour map of anomalies, errors and heatmaps, centred at zero."""
    dpi: int = Field(default=150, ge=50, le=600)
    """Resolution of the PNG files, dots per inch; a PDF is written beside each."""
    zoom: float = Field(default=15, gt=0, le=180)
    """Half the side of a zoomed heatmap panel, degrees."""
