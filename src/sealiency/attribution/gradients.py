"""The methods that are a gradient, or a mean of gradients, by the engine: its multipliers are the activations' derivatives."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from sealiency.attribution.attributor import Tile
from sealiency.attribution.engine import Linearisation
from sealiency.attribution.engine_method import EngineMethod


class GradientMethod(EngineMethod):
    """What the gradient at the inputs gives, times something."""

    def _prepare(self) -> None:
        self._build_engine()

    @abstractmethod
    def weigh(self, inputs: Tensor) -> Tensor:
        """Return what the gradient is multiplied by, of the inputs' shape or a single field."""

    def tiles(self, inputs: Tensor, pixels: Sequence[int]) -> Iterator[Tile]:
        """Give attributions group by group of neighbouring pixels, in batches of samples."""
        inputs = inputs.to(self.baselines)
        groups, windows = self._group(pixels), self.engine.surround(pixels)

        def linearise(part: slice) -> Linearisation:
            return self.engine.differentiate(inputs[part], self.weigh(inputs[part]), windows)

        yield from self._give_tiles(len(inputs), linearise, groups, pixels)


class Saliency(GradientMethod):
    """The gradient of the output with its sign (Simonyan et al. 2014), which does not sum to the output."""

    name: ClassVar = "saliency"

    def weigh(self, inputs: Tensor) -> Tensor:
        """Return one: the gradient as it is."""
        return torch.ones_like(inputs[:1])


class GuidedBackprop(Saliency):
    """Guided backpropagation (Springenberg et al. 2015): a filtered gradient, which does not sum to the output."""

    name: ClassVar = "guided_backprop"
    guided: ClassVar = True


class InputXGradient(GradientMethod):
    """Input times gradient (Shrikumar et al. 2016).

    It does not sum to f(x) - f(0): the shifts of batch norm act as biases, to which no input contributes.
    """

    name: ClassVar = "input_x_gradient"

    def weigh(self, inputs: Tensor) -> Tensor:
        """Return the inputs themselves."""
        return inputs


class IntegratedGradients(EngineMethod):
    """Integrated gradients (Sundararajan et al. 2017) by Gauss-Legendre quadrature."""

    name: ClassVar = "integrated_gradients"
    # The error is that of the quadrature over a piecewise linear network, not of the arithmetic.
    mend: ClassVar = "raise attribution.integration_steps"
    tolerances: ClassVar = {"float32": 1e-2, "float64": 1e-2}

    def _prepare(self) -> None:
        self._build_engine()
        nodes, weights = np.polynomial.legendre.leggauss(self.steps)
        # From [-1, 1] to the path from the baseline, at 0, to the input, at 1.
        self.places, self.weights = (
            torch.from_numpy(values).to(self.baselines) for values in ((nodes + 1) / 2, weights / 2)
        )

    def tiles(self, inputs: Tensor, pixels: Sequence[int]) -> Iterator[Tile]:
        """Give attributions sample by sample, the places on its path together."""
        groups, windows = self._group(pixels), self.engine.surround(pixels)
        for number, sample in enumerate(inputs.to(self.baselines).split(1)):
            change = sample - self.baselines[:1]

            def linearise(part: slice, change: Tensor = change) -> Linearisation:
                path = self.baselines[:1] + self.places[part, None, None, None] * change
                return self.engine.differentiate(path, change, windows)

            yield from self._give_means(number, self.steps, linearise, self.weights, groups, pixels)
