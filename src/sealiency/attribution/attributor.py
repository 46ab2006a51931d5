"""What every attribution method is: an object that gives the attributions of samples and pixels in tiles."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from sealiency.attribution.graph.tracing import refuse_training
from sealiency.attribution.graph.windows import Window
from sealiency.config.attribution import name_baseline
from sealiency.emulators.devices import arithmetic
from sealiency.errors import SealiencyError

FORECASTS_AT_ONCE = 32
# More samples at once leave the processor's cache and are no faster.
SAMPLES_ON_PROCESSOR = 8
# What is let go of late, and the copies that convolutions make.
COPIES_OF_ACTIVATIONS = 6


@dataclass(frozen=True)
class Tile:
    """Attributions of consecutive samples for some pixels."""

    samples: slice
    """Positions of the samples among those asked for."""
    pixels: list[int]
    """Positions of the pixels among those asked for."""
    window: Window
    """Rows and columns of the input outside which all attributions are zero."""
    attributions: Tensor
    """Shape (sample, pixel, lag, row, column), the part in the window."""


class Attributor(Protocol):
    """What turns samples and pixels into attributions."""

    baseline_name: str
    """The baseline in words, as files and captions state it."""
    precision: str
    """The arithmetic used, which may be a better one than was asked for."""
    mend: ClassVar[str]
    """What to do where completeness fails."""

    def tiles(self, inputs: Tensor, pixels: Sequence[int]) -> Iterator[Tile]:
        """Give the attributions of every sample and pixel once; those of one pixel come in the order of samples."""

    def output_difference(self, inputs: Tensor) -> Tensor:
        """Return f(x) - f(baseline) for every output pixel, shape (sample, lat * lon)."""

    @property
    def tolerance(self) -> float | None:
        """The largest completeness error that is accepted, or None where completeness does not hold."""


def collect_fields(attributor: Attributor, inputs: Tensor, pixels: Sequence[int]) -> Tensor:
    """Return the attributions of some samples and pixels as whole fields.

    Parameters
    ----------
    attributor
        The method.
    inputs
        Shape (sample, lag, lat, lon).
    pixels
        Positions of the pixels in the flattened grid.

    Returns
    -------
    Tensor
        Float64 of shape (pixel, sample, lag, lat, lon), on the processor.
    """
    fields = torch.zeros(len(pixels), *inputs.shape, dtype=torch.float64)
    for tile in attributor.tiles(inputs, pixels):
        for number, pixel in enumerate(tile.pixels):
            tile.window.cut(fields[pixel, tile.samples]).copy_(tile.attributions[:, number])
    return fields


class FlatOutput(nn.Module):
    """A network whose output pixels are one axis, so that a pixel is a target as Captum names it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Map (sample, lag, lat, lon) to (sample, lat * lon)."""
        return self.network(x).flatten(1)


class Method(ABC):
    """What all methods share; a method has a name, prepares itself and gives tiles.

    Parameters
    ----------
    network
        Network in evaluation mode, on its device and in the precision of its forward pass: float64, or float32.
    baselines
        Baselines on that device and in that precision, of shape (baseline, lag, lat, lon); the zero baseline is a single
        field of zeros.
    memory
        Memory for passes through the network, bytes; the number of samples at once follows from it.
    steps
        Steps of integrated gradients.
    precision
        Arithmetic of the attributions; a method that has no use for bfloat16 or tf32 takes float32 instead.
    occlusion_window
        Months, rows and columns that occlusion replaces together.

    Raises
    ------
    SealiencyError
        If the network is in training mode or holds a layer that the method has no exact rule for, or the memory does not
        suffice for one sample or for all baselines.
    """

    name: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]] = ("float32", "float64")
    tolerances: ClassVar[dict[str, float] | None] = None
    mend: ClassVar[str] = (
        "set attribution.precision: float64; if that fails too, it is a fault of the method's rule for an operation of the network"
    )

    def __init__(
        self,
        network: nn.Module,
        baselines: Tensor,
        memory: float,
        steps: int,
        precision: str,
        occlusion_window: tuple[int, int, int],
    ) -> None:
        refuse_training(network)
        self.network = network
        self.model = FlatOutput(network)
        self.baselines = baselines
        self.memory = memory
        self.steps = steps
        self.precision = precision if precision in self.precisions else "float32"
        self.occlusion_window = occlusion_window
        self.baseline_name = name_baseline(self.name, len(baselines) if baselines.any() else 0)
        self._prepare()

    @abstractmethod
    def _prepare(self) -> None:
        """Do what a method has to do once for its network and baselines."""

    @abstractmethod
    def tiles(self, inputs: Tensor, pixels: Sequence[int]) -> Iterator[Tile]:
        """Give the attributions of every sample and pixel once, those of one pixel in the order of samples."""

    def output_difference(self, inputs: Tensor) -> Tensor:
        """Return f(x) minus the mean of f over the baselines, in batches, from the network itself."""
        inputs = inputs.to(self.baselines)
        with torch.no_grad(), arithmetic("float32"):
            baseline = torch.cat([self.model(batch) for batch in self.baselines.split(FORECASTS_AT_ONCE)]).mean(0)
            return torch.cat([self.model(batch) for batch in inputs.split(FORECASTS_AT_ONCE)]) - baseline

    @property
    def tolerance(self) -> float | None:
        """The bound on the completeness error in this precision."""
        return None if self.tolerances is None else self.tolerances[self.precision]


def count_fitting(memory: float, one: int, device: torch.device) -> int:
    """Return how many samples are attributed at once.

    Parameters
    ----------
    memory, one
        Memory for passes, and what one sample takes of it, bytes.
    device
        Where the passes run.

    Raises
    ------
    SealiencyError
        If not even one sample fits.
    """
    if one > memory:
        raise SealiencyError(
            f"attribution.memory_gb is too low: to attribute one sample takes {one / 1e9:.3g} GB, and half of memory_gb is "
            f"for sums; set {2.1 * one / 1e9:.3g} or more"
        )
    fitting = int(memory / one)
    return min(fitting, SAMPLES_ON_PROCESSOR) if device.type == "cpu" else fitting


def measure_pass(network: nn.Module, field: Tensor) -> int:
    """Return about how many bytes a forward pass of one sample takes, by what its layers give.

    Parameters
    ----------
    network
        Network on its device.
    field
        One sample of shape (1, lag, lat, lon).
    """
    sizes: list[int] = []
    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    hooks = [leaf.register_forward_hook(lambda _, __, output: sizes.append(output.nbytes)) for leaf in leaves]
    try:
        with torch.no_grad():
            network(field)
    finally:
        for hook in hooks:
            hook.remove()
    return COPIES_OF_ACTIVATIONS * sum(sizes)
