"""The kinds of network; each kind's settings are one class, and its layers one file of `sealiency.emulators.networks`."""

import re
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag, TypeAdapter, field_validator, model_validator

from sealiency.config.base import Section
from sealiency.config.emulator import Lead

Layers = Annotated[int, Field(ge=0, le=1000)]


class NetworkSettings(Section):
    """What every kind of network has."""

    kind: str
    """The network: densenet as in the paper, unet, dilated, or own for the user's code and weights."""
    skip: Literal["none", "persistence", "ridge", "convolution"] = "none"
    """What the network's output is added to, so that it learns the rest alone: nothing, persistence (month -1), a ridge
    regression on each pixel's own months, or a convolution over all months that is trained with it."""
    skip_kernel: Literal[1, 3, 5] = 1
    """Cells along each side of the skip's convolution."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_residual(cls, values: Any) -> Any:
        if isinstance(values, dict) and "residual" in values:
            raise ValueError("residual has become skip: write `skip: persistence` for true, `skip: none` for false")
        return values


class BuiltNetwork(NetworkSettings):
    """What every kind has that is built here."""

    months: int | None = Field(default=None, ge=1)
    """Months of the history that the layers read, the last ones; null for all. The skip reads its own."""
    whiten: bool = False
    """Turn the months of the history into uncorrelated channels of unit variance before the first layer, by a linear map
    fitted on the training months (not in the paper). The network then learns faster what a running mean hides."""
    level: bool = True
    """Let the layers see the mean of each cell's months. Without it they forecast from differences of months alone, and with `skip:
    persistence` a sea that is warmer throughout is forecast warmer by as much: for records that warm. It needs `whiten`."""
    linear_bottleneck: bool = False
    """Add a linear layer over all cells of the coarsest grid, shared by its channels, so that a forecast can depend on every
    place (what the paper plans)."""
    members: int = Field(default=1, ge=1, le=100)
    """Networks of one emulator, trained side by side from weights of their own; the forecast is the mean of theirs, and so are
    its attributions."""
    uncertainty: bool = False
    """Forecast the variance of the error beside the anomaly, by a second output that is trained by its likelihood."""

    @model_validator(mode="after")
    def _check_level(self) -> Self:
        if not (self.level or self.whiten):
            raise ValueError("level: false takes the mean of the months out as they are whitened; set whiten: true")
        return self


class DenseNetwork(BuiltNetwork):
    """The DenseNet encoder-decoder of Xu et al. (2021), Table 1; the defaults are theirs."""

    kind: Literal["densenet"] = "densenet"
    """The network: densenet as in the paper, unet, dilated, or own for the user's code and weights."""
    stem_channels: int = Field(default=144, ge=1)
    """densenet: channels after the first convolution."""
    growth_rate: int = Field(default=16, ge=1)
    """densenet: channels that each dense layer adds."""
    dense_layers: tuple[Layers, Layers, Layers] = (3, 6, 3)
    """densenet: layers of the three dense blocks."""
    upsampling: Literal["nearest", "bicubic"] = "nearest"
    """densenet: interpolation of the two upsampling steps: nearest as in the paper's table, bicubic as in its text."""


Activation = Literal["relu", "gelu", "silu"]


class UNetwork(BuiltNetwork):
    """A U-Net (Ronneberger et al. 2015): an encoder and a decoder whose levels of one grid are joined by skip connections."""

    kind: Literal["unet"]
    """The U-Net."""
    channels: int = Field(default=32, ge=1)
    """unet: channels on the region's grid; each coarser level has twice as many."""
    levels: int = Field(default=3, ge=1, le=10)
    """unet: grids, each half as fine as the one before."""
    activation: Activation = "relu"
    """unet: activation after each batch normalisation."""


class DilatedNetwork(BuiltNetwork):
    """Residual blocks of dilated convolutions on the region's own grid, which know where each cell lies."""

    kind: Literal["dilated"]
    """The network of dilated convolutions."""
    channels: int = Field(default=32, ge=1)
    """dilated: channels of every layer."""
    dilations: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(default=(1, 2, 4, 8, 4, 2, 1), max_length=1000)
    """dilated: cells between the taps of each block's 3 x 3 convolution; a forecast sees as far as they sum to (and half
    of each from 4 on, whose taps read means of the cells about them); with none it sees its own cell alone."""
    attention: bool = False
    """dilated: amplify features where a map says that the network learns (LFI-CAM, Lee et al. 2021). It multiplies two signals, so
    the attribution engine refuses it; see the section `attention`."""
    activation: Activation = "relu"
    """dilated: activation after each batch normalisation."""


class OwnNetwork(NetworkSettings):
    """The user's own emulator: code that builds it, and weights if it has been trained."""

    kind: Literal["own"]
    """The user's own network."""
    build: str
    """own: function that returns the network, as package.module:function; it is called with `history`, the months of input, and
    `grid`, the rows and columns of the region. The module lies in the working directory or is installed."""
    weights: str | dict[Lead, str] | None = None
    """own: file of the network's weights, .pt (its state_dict) or .safetensors, for all leads or by lead; training starts from
    them, and with `training: none` they are explained as they are."""

    @field_validator("build")
    @classmethod
    def _check_build(cls, build: str) -> str:
        if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*", build):
            raise ValueError("name a module and a function in it, as my_package.my_module:build_network")
        return build

    @field_validator("weights")
    @classmethod
    def _check_weights(cls, weights: Any) -> Any:
        for path in weights.values() if isinstance(weights, dict) else [weights] if weights else []:
            if path.endswith(".pt2"):
                raise ValueError(
                    f"{path} is an exported program, and opening one can execute code that it holds; save the weights alone "
                    "with torch.save(network.state_dict(), 'weights.pt'), and name the network's code in network.build"
                )
            if not path.endswith((".pt", ".pth", ".safetensors")):
                raise ValueError(
                    f"{path} is neither .pt, .pth nor .safetensors; save the network's state_dict as one of them"
                )
        return weights


def _name_kind(network: Any) -> Any:
    return network.get("kind", "densenet") if isinstance(network, dict) else getattr(network, "kind", None)


# A kind more is a member more.
Network = Annotated[
    Annotated[DenseNetwork, Tag("densenet")]
    | Annotated[UNetwork, Tag("unet")]
    | Annotated[DilatedNetwork, Tag("dilated")]
    | Annotated[OwnNetwork, Tag("own")],
    Discriminator(_name_kind),
    BeforeValidator(lambda network: _check_kind(network)),
]
KINDS: tuple[str, ...] = tuple(get_args(member)[1].tag for member in get_args(get_args(Network)[0]))


def _check_kind(network: Any) -> Any:
    if (kind := _name_kind(network)) not in KINDS:
        raise ValueError(f"kind {kind!r} is not known; choose {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    return network


_ADAPTER: TypeAdapter[Network] = TypeAdapter(Network)


def parse_network(settings: dict[str, Any]) -> Network:
    """Return a network's settings from plain values, such as those of an emulator's file.

    Raises
    ------
    pydantic.ValidationError
        If they are no settings of a network.
    """
    return _ADAPTER.validate_python(settings)


# Dilations by the number of cells that a forecast then sees.
DILATIONS: dict[int, tuple[int, ...]] = {1: (), 9: (1,), 25: (1, 1)}


def resolve_network(
    network: Network,
    lead: int,
    bottleneck: bool = False,
    seen: tuple[int, int] | None = None,
    attention: bool = False,
) -> Network:
    """Return the settings of one lead's network, so that another lead's weights do not touch its job.

    Parameters
    ----------
    network
        The network's settings.
    lead
        Lead, months.
    bottleneck
        Whether a linear layer over all cells is added, for the comparison of the findings; own networks have none.
    seen
        Months and cells that a network of kind `dilated` is given, to learn which suffice; None for all.
    attention
        Whether a network of kind `dilated` attends to a map of its own.
    """
    if isinstance(network, OwnNetwork):
        return network.model_copy(
            update={"weights": network.weights[lead] if isinstance(network.weights, dict) else network.weights}
        )
    if seen:
        months, cells = seen
        return network.model_copy(update={"months": months, "dilations": DILATIONS[cells]})
    if attention:
        return network.model_copy(update={"attention": True})
    return network.model_copy(update={"linear_bottleneck": True}) if bottleneck else network
