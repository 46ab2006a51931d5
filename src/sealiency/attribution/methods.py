"""The attribution methods, one class each, and the registry that names them.

Every method explains single pixels of an emulator's unmasked output. The group explanation asks any object with the
`Attributor` protocol for tiles, so that a faster engine takes the place of Captum's loop by joining the registry.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

import captum.attr
import torch
from torch import Tensor, nn

from sealiency.errors import SealiencyError

EXACT_LAYERS = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Dropout2d)
CONTAINERS = (nn.Sequential,)


@dataclass(frozen=True)
class Tile:
    """Attributions of consecutive samples for one pixel."""

    samples: slice
    """Positions of the samples among those asked for."""
    pixel: int
    """Position of the pixel among those asked for."""
    attributions: Tensor
    """Shape (sample, lag, lat, lon)."""


class Attributor(Protocol):
    """What turns samples and pixels into attributions."""

    baseline_name: str
    """The baseline in words, as files and captions state it."""
    mend: ClassVar[str]
    """What to do where completeness fails."""

    def tiles(self, inputs: Tensor, pixels: list[int]) -> Iterator[Tile]:
        """Give the attributions of every sample and pixel once; those of one pixel come in the order of samples."""

    def output_difference(self, inputs: Tensor) -> Tensor:
        """Return f(x) - f(baseline) for every output pixel, shape (sample, lat * lon)."""

    @property
    def tolerance(self) -> float | None:
        """The largest completeness error that is accepted, or None where completeness does not hold."""


class _FlatOutput(nn.Module):
    """A network whose output pixels are one axis, so that a pixel is a target as Captum names it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Map (sample, lag, lat, lon) to (sample, lat * lon)."""
        return self.network(x).flatten(1)


class CaptumMethod:
    """What the Captum methods share: a loop over pixels and batches of samples.

    Parameters
    ----------
    network
        Network in evaluation mode, on its device and in the precision wanted.
    baselines
        Baselines, whose device and precision are those of the attributions, of shape (baseline, lag, lat, lon); the zero baseline is a single field of zeros.
    batch_size
        Samples attributed at once.
    steps
        Steps of integrated gradients.

    Raises
    ------
    SealiencyError
        If the network is in training mode or holds a layer that the method has no exact rule for.
    """

    tolerances: ClassVar[dict[torch.dtype, float] | None] = None
    mend: ClassVar[str] = (
        "set attribution.precision: float64, and if that fails too, the network has a layer that the method does not explain"
    )

    def __init__(self, network: nn.Module, baselines: Tensor, batch_size: int, steps: int) -> None:
        check_network(network)
        self.model = _FlatOutput(network)
        self.baselines = baselines
        self.batch_size = batch_size
        self.steps = steps
        self.method = self.build(self.model)
        self.baseline_name = f"{len(baselines)} training samples" if baselines.any() else "zero"

    def build(self, model: nn.Module) -> captum.attr.Attribution:
        """Return Captum's object of the method."""
        raise NotImplementedError

    def attribute(self, inputs: Tensor, pixel: int) -> Tensor:
        """Attribute one output pixel (its position in the flattened grid) to inputs (sample, lag, lat, lon)."""
        raise NotImplementedError

    def tiles(self, inputs: Tensor, pixels: list[int]) -> Iterator[Tile]:
        """Give attributions pixel by pixel, in batches of samples."""
        inputs = inputs.to(self.baselines)
        for at_pixel, pixel in enumerate(pixels):
            for start in range(0, len(inputs), self.batch_size):
                batch = inputs[start : start + self.batch_size]
                with warnings.catch_warnings():
                    # Captum says that it sets hooks, which it removes again.
                    warnings.filterwarnings("ignore", message="Setting forward, backward hooks")
                    warnings.filterwarnings("ignore", message="Setting backward hooks")
                    warnings.filterwarnings("ignore", message="Input Tensor 0 did not already require gradients")
                    attributions = self.attribute(batch, pixel).detach()
                yield Tile(slice(start, start + len(batch)), at_pixel, attributions)

    def output_difference(self, inputs: Tensor) -> Tensor:
        """Return f(x) minus the mean of f over the baselines, in batches."""
        inputs = inputs.to(self.baselines)
        with torch.no_grad():
            baseline = torch.cat([self.model(batch) for batch in self.baselines.split(self.batch_size)]).mean(0)
            return torch.cat([self.model(batch) for batch in inputs.split(self.batch_size)]) - baseline

    @property
    def tolerance(self) -> float | None:
        """The bound on the completeness error in this precision."""
        return None if self.tolerances is None else self.tolerances[self.baselines.dtype]


class DeepLift(CaptumMethod):
    """DeepLIFT with the rescale rule (Shrikumar et al. 2019) and one baseline."""

    tolerances: ClassVar = {torch.float32: 1e-6, torch.float64: 1e-12}

    def build(self, model: nn.Module) -> captum.attr.Attribution:
        """Return Captum's DeepLift."""
        return captum.attr.DeepLift(model)

    def attribute(self, inputs: Tensor, pixel: int) -> Tensor:
        """Attribute against the one baseline."""
        return self.method.attribute(inputs, baselines=self.baselines[:1], target=pixel)


class DeepLiftShap(CaptumMethod):
    """DeepLIFT averaged over a distribution of baselines (Lundberg & Lee 2017)."""

    tolerances: ClassVar = DeepLift.tolerances

    def build(self, model: nn.Module) -> captum.attr.Attribution:
        """Return Captum's DeepLiftShap."""
        return captum.attr.DeepLiftShap(model)

    def attribute(self, inputs: Tensor, pixel: int) -> Tensor:
        """Attribute against every baseline and average."""
        # Captum wants two baselines or more; one given twice has the same mean.
        baselines = self.baselines if len(self.baselines) > 1 else self.baselines.repeat(2, 1, 1, 1)
        return self.method.attribute(inputs, baselines=baselines, target=pixel)


class IntegratedGradients(CaptumMethod):
    """Integrated gradients (Sundararajan et al. 2017) by Gauss-Legendre quadrature."""

    # The error is that of the quadrature over a piecewise linear network, not of the arithmetic.
    mend: ClassVar = "raise attribution.integration_steps"
    tolerances: ClassVar = {torch.float32: 1e-2, torch.float64: 1e-2}

    def build(self, model: nn.Module) -> captum.attr.Attribution:
        """Return Captum's IntegratedGradients."""
        return captum.attr.IntegratedGradients(model)

    def attribute(self, inputs: Tensor, pixel: int) -> Tensor:
        """Attribute along the straight path from the one baseline."""
        return self.method.attribute(
            inputs,
            baselines=self.baselines[:1],
            target=pixel,
            n_steps=self.steps,
            internal_batch_size=max(self.batch_size, len(inputs)),
        )


class GuidedBackprop(CaptumMethod):
    """Guided backpropagation (Springenberg et al. 2015): a filtered gradient, which does not sum to the output."""

    def __init__(self, network: nn.Module, baselines: Tensor, batch_size: int, steps: int) -> None:
        super().__init__(network, baselines, batch_size, steps)
        self.baseline_name = "none"

    def build(self, model: nn.Module) -> captum.attr.Attribution:
        """Return Captum's GuidedBackprop."""
        return captum.attr.GuidedBackprop(model)

    def attribute(self, inputs: Tensor, pixel: int) -> Tensor:
        """Return the guided gradient at the inputs; there is no baseline."""
        return self.method.attribute(inputs, target=pixel)


METHODS: dict[str, type[CaptumMethod]] = {
    "deeplift": DeepLift,
    "deeplift_shap": DeepLiftShap,
    "integrated_gradients": IntegratedGradients,
    "guided_backprop": GuidedBackprop,
}


def check_network(network: nn.Module) -> None:
    """Refuse a network for which the methods would be wrong without a word.

    Raises
    ------
    SealiencyError
        If the network is in training mode, or holds a layer without an exact rule, which is named.
    """
    for name, module in network.named_modules():
        if module.training:
            raise SealiencyError(f"layer {name or 'network'} is in training mode; call eval() before attribution")
        leaf = not any(True for _ in module.children())
        # Exact types: Captum passes over a subclass of ReLU and gives gradient x difference for it.
        if leaf and type(module) not in (*EXACT_LAYERS, *CONTAINERS):
            raise SealiencyError(
                f"layer {name} is a {type(module).__name__}, for which no attribution rule is exact here; use "
                f"{', '.join(layer.__name__ for layer in EXACT_LAYERS)}"
            )


def build_method(name: str, network: nn.Module, baselines: Tensor, batch_size: int, steps: int) -> Attributor:
    """Return a method by its configured name; see `CaptumMethod` for the parameters and errors."""
    return METHODS[name](network, baselines, batch_size, steps)
