"""DeepLIFT and DeepLiftShap."""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from sealiency.attribution.attributor import SAMPLES_ON_PROCESSOR, Tile
from sealiency.attribution.engine import Linearisation
from sealiency.attribution.engine_method import EngineMethod
from sealiency.emulators.devices import arithmetic
from sealiency.errors import SealiencyError


class DeepLift(EngineMethod):
    """DeepLIFT with the rescale rule (Shrikumar et al. 2019) and one baseline."""

    name: ClassVar = "deeplift"
    precisions: ClassVar = ("float32", "float64", "bfloat16", "tf32")
    # Those of bfloat16 and tf32 leave room for rounding, which benchmarks/attribution.py measures, and catch a wrong rule.
    tolerances: ClassVar = {"float32": 1e-6, "float64": 1e-12, "bfloat16": 1e-2, "tf32": 1e-3}

    def _prepare(self) -> None:
        self._build_engine()
        baselines, memory = self.baselines, self.memory
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
        groups, windows = self._group(pixels), self.engine.surround(pixels)

        def linearise(part: slice) -> Linearisation:
            return self.engine.linearise(inputs[part], self.baselines, self.observed, windows)

        yield from self._give_tiles(len(inputs), linearise, groups, pixels)


class DeepLiftShap(DeepLift):
    """DeepLIFT averaged over a distribution of baselines (Lundberg & Lee 2017)."""

    name: ClassVar = "deeplift_shap"

    def tiles(self, inputs: Tensor, pixels: Sequence[int]) -> Iterator[Tile]:
        """Give attributions sample by sample, each against all baselines at once."""
        if len(self.baselines) == 1:
            yield from super().tiles(inputs, pixels)
            return
        groups, windows = self._group(pixels), self.engine.surround(pixels)
        for number, sample in enumerate(inputs.to(self.baselines).split(1)):

            def linearise(part: slice, sample: Tensor = sample) -> Linearisation:
                observed = [values[part] for values in self.observed]
                return self.engine.linearise(sample, self.baselines[part], observed, windows)

            yield from self._give_means(number, len(self.baselines), linearise, None, groups, pixels)
