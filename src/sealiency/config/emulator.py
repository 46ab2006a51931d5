"""The training of the emulators."""

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from sealiency.config.base import Section

Lead = Annotated[int, Field(ge=1, le=120)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class Training(Section):
    """The training of one emulator per lead and seed; `epochs` and `dropout` take one value, or one a lead."""

    enabled: bool = True
    """Whether to train; `training: none` is short for false, and explains an own network as its weights are."""
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[0], min_length=1)
    """Seeds, one emulator each; figures show the first."""
    epochs: Annotated[int, Field(ge=1)] | dict[Lead, Annotated[int, Field(ge=1)]] = {1: 700, 6: 500, 9: 300}
    """Most epochs, by lead in months or one for all."""
    dropout: Dropout | dict[Lead, Dropout] = {1: 0.0, 6: 0.5, 9: 0.5}
    """Dropout of whole channels after each dense layer, by lead in months or one for all."""
    batch_size: int = Field(default=128, ge=1)
    """Samples of one optimiser step."""
    learning_rate: float = Field(default=7e-4, gt=0, le=10)
    """Initial learning rate of AdamW."""
    weight_decay: float = Field(default=1e-7, ge=0, le=10)
    """Weight decay of AdamW."""
    schedule: Literal["step", "cosine", "constant"] = "step"
    """Learning rate by epoch: times 0.99 every 3 epochs, half a cosine down to 0, or constant."""
    patience: int = Field(default=50, ge=1)
    """Epochs without a better validation RMSE after which training stops; the best epoch is kept."""
    beta: float = Field(default=0.5, ge=0, le=1)
    """With network.uncertainty, the loss is the Gaussian negative log likelihood times the forecast variance to this power: 0 is
    the likelihood, 1 trains the anomaly as without uncertainty (Seitzer et al. 2022)."""
    averaging: float = Field(default=0, ge=0, lt=1)
    """Decay of an exponential moving average of the weights over optimiser steps, which is validated and kept in their place; 0
    for none. A decay of 0.97 averages over about 33 steps."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the training passes; auto takes bfloat16 where the processor or GPU has it in hardware."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where training runs; auto takes a GPU if there is one."""

    @model_validator(mode="before")
    @classmethod
    def _take_none(cls, values: Any) -> Any:
        return {"enabled": False} if values == "none" else values

    @model_validator(mode="after")
    def _check_seeds(self) -> Self:
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {self.seeds} holds one seed twice")
        return self


class LeadTraining(Section):
    """The training settings of one lead and seed, resolved from `Training`."""

    lead: Lead
    """Lead, months."""
    seed: int
    """Seed of weights, order of samples and dropout."""
    control: Literal["none", "random", "shuffled"] = "none"
    """Whether the emulator is a control of the findings: random weights, or trained on shuffled targets."""
    samples: int | None = None
    """Only the last so many training samples are trained on; null for all."""
    epochs: int
    """Most epochs; none for random weights and for a network that is explained as it is."""
    dropout: float
    """Dropout of whole channels after each dense layer."""
    batch_size: int
    """Samples of one optimiser step."""
    learning_rate: float
    """Initial learning rate."""
    weight_decay: float
    """Weight decay."""
    schedule: Literal["step", "cosine", "constant"]
    """Learning rate by epoch."""
    patience: int
    """Epochs without a better validation RMSE after which training stops."""
    averaging: float = 0
    """Decay of the moving average of the weights."""
    beta: float = 0.5
    """Power of the forecast variance in the loss of a network with uncertainty."""
    precision: Literal["auto", "float32", "bfloat16"]
    """Arithmetic of the training passes."""
    device: Literal["auto", "cpu", "cuda"]
    """Where training runs."""


def resolve_training(
    training: Training,
    lead: int,
    seed: int,
    control: Literal["none", "random", "shuffled"] = "none",
    samples: tuple[int, int] | None = None,
) -> LeadTraining:
    """Return the settings of one lead and seed, so that another lead's settings do not touch its job.

    Parameters
    ----------
    training
        Settings of all trainings.
    lead, seed
        Lead, months, and seed.
    control
        Whether it is a control of the findings.
    samples
        Of a point of the training-size curve, the samples trained on and those of the run. Fewer samples are seen in more epochs,
        by the square root of their ratio.
    """
    chosen = {
        name: value[lead] if isinstance(value := getattr(training, name), dict) else value
        for name in ("epochs", "dropout")
    }
    if control == "random" or not training.enabled:
        # Nothing else of the training touches them.
        kept = {name: getattr(training, name) for name in ("batch_size", "device", "precision")}
        training, chosen = Training(**kept), {"epochs": 0, "dropout": 0.0}
    if samples:
        few, all_samples = samples
        chosen |= {"samples": few, "epochs": math.ceil(chosen["epochs"] * math.sqrt(all_samples / few))}
    shared = training.model_dump(exclude={"enabled", "seeds", "epochs", "dropout"})
    return LeadTraining(lead=lead, seed=seed, control=control, **chosen, **shared)
