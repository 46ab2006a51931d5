"""The attribution methods, one class each, and the registry that names them.

Every method explains single pixels of an emulator's unmasked output. Whoever needs attributions asks any object with the
`Attributor` protocol for tiles. DeepLIFT has an engine of its own, which makes the explanation of every ocean pixel
possible; the other methods are Captum's, pixel by pixel.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar, Protocol

import captum.attr
import torch
from torch import Tensor, nn

from sealiency.attribution.engine import Engine, Linearisation, Span, Window
from sealiency.errors import SealiencyError
from sealiency.models.devices import arithmetic

LOGGER = logging.getLogger(__name__)

EXACT_LAYERS = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Dropout2d)
CONTAINERS = (nn.Sequential,)
FORECASTS_AT_ONCE = 32
# More samples at once leave the processor's cache and are no faster.
SAMPLES_ON_PROCESSOR = 8
# A pass through Captum holds activations and gradients of samples and of baselines.
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


class FlatOutput(nn.Module):
    """A network whose output pixels are one axis, so that a pixel is a target as Captum names it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Map (sample, lag, lat, lon) to (sample, lat * lon)."""
        return self.network(x).flatten(1)


class Method:
    """What all methods share.

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

    Raises
    ------
    SealiencyError
        If the network is in training mode or holds a layer that the method has no exact rule for, or the memory does not
        suffice for one sample or for all baselines.
    """

    precisions: ClassVar[tuple[str, ...]] = ("float32", "float64")
    tolerances: ClassVar[dict[str, float] | None] = None
    mend: ClassVar[str] = (
        "set attribution.precision: float64, and if that fails too, the network has a layer that the method does not explain"
    )

    def __init__(self, network: nn.Module, baselines: Tensor, memory: float, steps: int, precision: str) -> None:
        check_network(network)
        self.network = network
        self.model = FlatOutput(network)
        self.baselines = baselines
        self.memory = memory
        self.steps = steps
        self.precision = precision if precision in self.precisions else "float32"
        self.baseline_name = f"{len(baselines)} training samples" if baselines.any() else "zero"

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


class DeepLift(Method):
    """DeepLIFT with the rescale rule (Shrikumar et al. 2019) and one baseline, by the engine."""

    precisions: ClassVar = ("float32", "float64", "bfloat16", "tf32")
    # Those of bfloat16 and tf32 leave room for rounding, which benchmarks/attribution.py measures, and catch a wrong rule.
    tolerances: ClassVar = {"float32": 1e-6, "float64": 1e-12, "bfloat16": 1e-2, "tf32": 1e-3}

    def __init__(self, network: nn.Module, baselines: Tensor, memory: float, steps: int, precision: str) -> None:
        super().__init__(network, baselines, memory, steps, precision)
        rows = torch.bfloat16 if self.precision == "bfloat16" else baselines.dtype
        lat, lon = baselines.shape[2:]
        self.engine = Engine(network, (lat, lon), rows)
        self.at_once: int | None = None
        # What every baseline takes as long as the method is used: one is no more than another sample.
        self.held = 0 if len(baselines) == 1 else len(baselines) * self.engine.measure_linearisation()
        if self.held > memory / 2:
            raise SealiencyError(
                f"attribution.baseline_samples = {len(baselines)}: so many baselines take {self.held / 1e9:.3g} GB, more than "
                f"a quarter of attribution.memory_gb; lower it, or set memory_gb to {4 * self.held / 1e9:.3g} or more"
            )
        with arithmetic(self.precision):
            parts = [self.engine.observe(part) for part in baselines.split(SAMPLES_ON_PROCESSOR)]
        self.observed = [torch.cat(values) for values in zip(*parts, strict=True)]

    def tiles(self, inputs: Tensor, pixels: Sequence[int]) -> Iterator[Tile]:
        """Give attributions group by group of neighbouring pixels, in batches of samples."""
        if len(self.baselines) > 1:
            # As many samples would each be held against another one.
            raise ValueError(f"DeepLift takes one baseline, not {len(self.baselines)}; DeepLiftShap takes several")
        inputs = inputs.to(self.baselines)
        groups = self._group(pixels)
        start = 0
        while start < len(inputs):
            batch = inputs[start : start + self._limit()]
            linearisation = self._linearise(batch, self.baselines, self.observed)
            if linearisation is None:
                continue
            for group in groups:
                for part, values, window in self._attribute(linearisation, [pixels[at] for at in group]):
                    yield Tile(slice(start + part.start, start + part.stop), group, window, values)
            start += len(batch)

    def _group(self, pixels: Sequence[int]) -> list[list[int]]:
        groups = self.engine.group(pixels)
        if self.at_once is None:
            one = max(self.engine.measure_memory([pixels[at] for at in group]) for group in groups)
            self.at_once = _count_fitting(self.memory - self.held, one, self.baselines.device)
        return groups

    def _limit(self) -> int:
        assert self.at_once is not None
        return self.at_once

    def _linearise(self, inputs: Tensor, baselines: Tensor, observed: list[Tensor]) -> Linearisation | None:
        """Return the linearisation of a batch, or None if it did not fit and a smaller one must be tried."""
        with suppress(torch.OutOfMemoryError), arithmetic(self.precision):
            return self.engine.linearise(inputs, baselines, observed)
        # Here, where the error no longer holds what did not fit.
        self._halve()
        return None

    def _attribute(self, linearisation: Linearisation, pixels: list[int]) -> Iterator[tuple[slice, Tensor, Window]]:
        start = 0
        while start < len(linearisation):
            part = slice(start, min(start + self._limit(), len(linearisation)))
            result = None
            with suppress(torch.OutOfMemoryError), arithmetic(self.precision):
                result = self.engine.attribute(linearisation.take(part), pixels)
            if result is None:
                self._halve()
                continue
            yield part, *result
            start = part.stop

    def _halve(self) -> None:
        if self._limit() == 1:
            raise SealiencyError(
                "the GPU has too little memory to attribute one sample at a time; free it, take a larger one, or set "
                "attribution.device: cpu"
            )
        self.at_once = self._limit() // 2
        torch.cuda.empty_cache()
        LOGGER.warning("out of GPU memory: going on with %d sample(s) at once", self.at_once)


class DeepLiftShap(DeepLift):
    """DeepLIFT averaged over a distribution of baselines (Lundberg & Lee 2017), by the engine."""

    def tiles(self, inputs: Tensor, pixels: Sequence[int]) -> Iterator[Tile]:
        """Give attributions sample by sample, each against all baselines at once."""
        if len(self.baselines) == 1:
            yield from super().tiles(inputs, pixels)
            return
        groups = self._group(pixels)
        for number, sample in enumerate(inputs.to(self.baselines).split(1)):
            linearisations = list(self._linearise_against_all(sample))
            for group in groups:
                chosen = [pixels[at] for at in group]
                parts = (part for one in linearisations for part in self._attribute(one, chosen))
                _, values, window = next(parts)
                total = values.sum(0, keepdim=True)
                for _, values, _ in parts:
                    total += values.sum(0, keepdim=True)
                yield Tile(slice(number, number + 1), group, window, total / len(self.baselines))

    def _linearise_against_all(self, sample: Tensor) -> Iterator[Linearisation]:
        start = 0
        while start < len(self.baselines):
            part = slice(start, start + self._limit())
            linearisation = self._linearise(sample, self.baselines[part], [values[part] for values in self.observed])
            if linearisation is not None:
                yield linearisation
                start = part.stop


class CaptumMethod(Method):
    """What Captum's methods share: a loop over pixels and batches of samples."""

    def __init__(self, network: nn.Module, baselines: Tensor, memory: float, steps: int, precision: str) -> None:
        super().__init__(network, baselines, memory, steps, precision)
        self.method = self.build(self.model)
        one = COPIES_OF_ACTIVATIONS * _measure_activations(network, baselines[:1])
        self.at_once = _count_fitting(memory, one, baselines.device)

    def build(self, model: nn.Module) -> captum.attr.Attribution:
        """Return Captum's object of the method."""
        raise NotImplementedError

    def attribute(self, inputs: Tensor, pixel: int) -> Tensor:
        """Attribute one output pixel (its position in the flattened grid) to inputs (sample, lag, lat, lon)."""
        raise NotImplementedError

    def tiles(self, inputs: Tensor, pixels: Sequence[int]) -> Iterator[Tile]:
        """Give attributions pixel by pixel, in batches of samples."""
        inputs = inputs.to(self.baselines)
        whole = Window(*(Span(0, size) for size in inputs.shape[2:]))
        for at_pixel, pixel in enumerate(pixels):
            for start in range(0, len(inputs), self.at_once):
                batch = inputs[start : start + self.at_once]
                with warnings.catch_warnings(), arithmetic(self.precision):
                    # Captum says that it sets hooks, which it removes again.
                    warnings.filterwarnings("ignore", message="Setting forward, backward hooks")
                    warnings.filterwarnings("ignore", message="Setting backward hooks")
                    warnings.filterwarnings("ignore", message="Input Tensor 0 did not already require gradients")
                    attributions = self.attribute(batch, pixel).detach()
                yield Tile(slice(start, start + len(batch)), [at_pixel], whole, attributions[:, None])


class IntegratedGradients(CaptumMethod):
    """Integrated gradients (Sundararajan et al. 2017) by Gauss-Legendre quadrature."""

    # The error is that of the quadrature over a piecewise linear network, not of the arithmetic.
    mend: ClassVar = "raise attribution.integration_steps"
    tolerances: ClassVar = {"float32": 1e-2, "float64": 1e-2}

    def build(self, model: nn.Module) -> captum.attr.Attribution:
        """Return Captum's IntegratedGradients."""
        return captum.attr.IntegratedGradients(model)

    def attribute(self, inputs: Tensor, pixel: int) -> Tensor:
        """Attribute along the straight path from the one baseline."""
        return self.method.attribute(
            inputs, baselines=self.baselines[:1], target=pixel, n_steps=self.steps, internal_batch_size=len(inputs)
        )


class GuidedBackprop(CaptumMethod):
    """Guided backpropagation (Springenberg et al. 2015): a filtered gradient, which does not sum to the output."""

    def __init__(self, network: nn.Module, baselines: Tensor, memory: float, steps: int, precision: str) -> None:
        super().__init__(network, baselines, memory, steps, precision)
        self.baseline_name = "none"

    def build(self, model: nn.Module) -> captum.attr.Attribution:
        """Return Captum's GuidedBackprop."""
        return captum.attr.GuidedBackprop(model)

    def attribute(self, inputs: Tensor, pixel: int) -> Tensor:
        """Return the guided gradient at the inputs; there is no baseline."""
        return self.method.attribute(inputs, target=pixel)


METHODS: dict[str, type[DeepLift] | type[CaptumMethod]] = {
    "deeplift": DeepLift,
    "deeplift_shap": DeepLiftShap,
    "integrated_gradients": IntegratedGradients,
    "guided_backprop": GuidedBackprop,
}


def _count_fitting(memory: float, one: int, device: torch.device) -> int:
    """Return how many samples, of so many bytes each, are attributed at once."""
    if one > memory:
        raise SealiencyError(
            f"attribution.memory_gb is too low: to attribute one sample takes {one / 1e9:.3g} GB, and half of memory_gb is "
            f"for sums; set {2.1 * one / 1e9:.3g} or more"
        )
    fitting = int(memory / one)
    return min(fitting, SAMPLES_ON_PROCESSOR) if device.type == "cpu" else fitting


def _measure_activations(network: nn.Module, field: Tensor) -> int:
    """Return the bytes of all layers' outputs for one sample."""
    sizes: list[int] = []
    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    hooks = [leaf.register_forward_hook(lambda _, __, output: sizes.append(output.nbytes)) for leaf in leaves]
    try:
        with torch.no_grad():
            network(field)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(sizes)


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


def build_method(
    name: str, network: nn.Module, baselines: Tensor, memory: float, steps: int, precision: str
) -> Attributor:
    """Return a method by its configured name; see `Method` for the parameters and errors."""
    return METHODS[name](network, baselines, memory, steps, precision)
