"""Which months and which neighbours suffice for a forecast."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from sealiency.config.base import Section

Neighbours = Literal[1, 9, 25]


class Sufficiency(Section):
    """Ridge regressions and emulators that see few months and few cells, beside those that see all (network.kind: dilated)."""

    months: list[Annotated[int, Field(ge=1)]] = []
    """Numbers of months of history, the last ones, that ridge regressions and emulators are given; none for no such table."""
    neighbours: list[Neighbours] = [1, 9, 25]
    """Numbers of cells, a square about the forecast one, that they are given; one is the cell alone."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        for name in ("months", "neighbours"):
            values = getattr(self, name)
            if sorted(set(values)) != values:
                raise ValueError(f"{name} {values} are not in rising order, each once")
        if self.months and not self.neighbours:
            raise ValueError("neighbours is empty; name at least one number of cells, or no months")
        return self
