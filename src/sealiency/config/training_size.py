"""The training-size curve: how skill and fidelity grow with the number of training samples."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from sealiency.config.base import Section


class TrainingSize(Section):
    """Emulators trained on the last few of the training samples, beside their rivals and the bound (data.source: synthetic)."""

    samples: list[Annotated[int, Field(ge=10)]] = []
    """Numbers of training samples of the curve, each with an emulator a lead and seed; none for no curve. The number of
    samples.training is the run's own emulators and needs no other."""

    @model_validator(mode="after")
    def _check_samples(self) -> Self:
        if sorted(set(self.samples)) != self.samples:
            raise ValueError(f"samples {self.samples} are not in rising order, each once")
        return self
