"""The methods that are Captum's own, from gradients of the output, pixel by pixel."""

import warnings
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import captum.attr
from torch import Tensor, nn

from sealiency.attribution.attributor import Method, Tile, count_fitting, measure_pass
from sealiency.attribution.engine import Span, Window
from sealiency.emulators.devices import arithmetic


class CaptumMethod(Method):
    """What Captum's methods share: a loop over pixels and batches of samples."""

    def _prepare(self) -> None:
        self.method = self.build(self.model)
        self.at_once = count_fitting(self.memory, measure_pass(self.network, self.baselines[:1]), self.baselines.device)

    @abstractmethod
    def build(self, model: nn.Module) -> captum.attr.Attribution:
        """Return Captum's object of the method."""

    @abstractmethod
    def attribute(self, inputs: Tensor, pixel: int) -> Tensor:
        """Attribute one output pixel (its position in the flattened grid) to inputs (sample, lag, lat, lon)."""

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

    name: ClassVar = "integrated_gradients"
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

    name: ClassVar = "guided_backprop"

    def build(self, model: nn.Module) -> captum.attr.Attribution:
        """Return Captum's GuidedBackprop."""
        return captum.attr.GuidedBackprop(model)

    def attribute(self, inputs: Tensor, pixel: int) -> Tensor:
        """Return the guided gradient at the inputs; there is no baseline."""
        return self.method.attribute(inputs, target=pixel)


class Saliency(CaptumMethod):
    """The gradient of the output with its sign (Simonyan et al. 2014), which does not sum to the output."""

    name: ClassVar = "saliency"

    def build(self, model: nn.Module) -> captum.attr.Attribution:
        """Return Captum's Saliency."""
        return captum.attr.Saliency(model)

    def attribute(self, inputs: Tensor, pixel: int) -> Tensor:
        """Return the gradient at the inputs; there is no baseline."""
        return self.method.attribute(inputs, target=pixel, abs=False)


class InputXGradient(CaptumMethod):
    """Input times gradient (Shrikumar et al. 2016).

    It does not sum to f(x) - f(0): the shifts of batch norm act as biases, to which no input contributes.
    """

    name: ClassVar = "input_x_gradient"

    def build(self, model: nn.Module) -> captum.attr.Attribution:
        """Return Captum's InputXGradient."""
        return captum.attr.InputXGradient(model)

    def attribute(self, inputs: Tensor, pixel: int) -> Tensor:
        """Return the inputs times the gradient at them; there is no baseline."""
        return self.method.attribute(inputs, target=pixel)
