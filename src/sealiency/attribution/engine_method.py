"""What every method by the engine shares: groups of pixels, batches of samples, memory."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import ClassVar

import torch
from torch import Tensor

from sealiency.attribution.attributor import Method, Tile, count_fitting
from sealiency.attribution.engine import Engine, Linearisation
from sealiency.attribution.graph.windows import Window
from sealiency.emulators.devices import arithmetic
from sealiency.errors import SealiencyError

LOGGER = logging.getLogger(__name__)


class EngineMethod(Method):
    """A method by the engine, which makes the explanation of every ocean pixel possible."""

    guided: ClassVar[bool] = False

    def _build_engine(self) -> None:
        rows = torch.bfloat16 if self.precision == "bfloat16" else self.baselines.dtype
        lags, lat, lon = self.baselines.shape[1:]
        self.engine = Engine(self.network, lags, (lat, lon), rows, self.guided)
        self.at_once: int | None = None
        self.held = 0

    def _group(self, pixels: Sequence[int]) -> list[list[int]]:
        groups = self.engine.group(pixels)
        if self.at_once is None:
            one = max(self.engine.measure_memory([pixels[at] for at in group]) for group in groups)
            self.at_once = count_fitting(self.memory - self.held, one, self.baselines.device)
        return groups

    def _limit(self) -> int:
        assert self.at_once is not None
        return self.at_once

    def _linearise(self, linearise: Callable[[slice], Linearisation], start: int, stop: int) -> Linearisation | None:
        """Return the linearisation of a batch from start on, or None if it did not fit and a smaller one must be tried."""
        with suppress(torch.OutOfMemoryError), arithmetic(self.precision):
            return linearise(slice(start, min(start + self._limit(), stop)))
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

    def _give_tiles(
        self,
        samples: int,
        linearise: Callable[[slice], Linearisation],
        groups: list[list[int]],
        pixels: Sequence[int],
    ) -> Iterator[Tile]:
        """Give the attributions of samples, each with one linearisation."""
        start = 0
        while start < samples:
            linearisation = self._linearise(linearise, start, samples)
            if linearisation is None:
                continue
            for group in groups:
                for part, values, window in self._attribute(linearisation, [pixels[at] for at in group]):
                    yield Tile(slice(start + part.start, start + part.stop), group, window, values)
            start += len(linearisation)

    def _give_means(
        self,
        number: int,
        count: int,
        linearise: Callable[[slice], Linearisation],
        weights: Tensor | None,
        groups: list[list[int]],
        pixels: Sequence[int],
    ) -> Iterator[Tile]:
        """Give the mean attributions, weighted or plain, of one sample with several linearisations."""
        parts = list(self._linearise_all(linearise, count))
        for group in groups:
            chosen, done = [pixels[at] for at in group], 0
            total: Tensor | None = None
            for linearisation in parts:
                for _, values, seen in self._attribute(linearisation, chosen):
                    window = seen
                    if weights is not None:
                        values *= weights[done : done + len(values), None, None, None, None]
                    done += len(values)
                    summed = values.sum(0, keepdim=True)
                    total = summed if total is None else total.add_(summed)
            assert total is not None
            yield Tile(slice(number, number + 1), group, window, total / count if weights is None else total)

    def _linearise_all(self, linearise: Callable[[slice], Linearisation], count: int) -> Iterator[Linearisation]:
        start = 0
        while start < count:
            linearisation = self._linearise(linearise, start, count)
            if linearisation is not None:
                yield linearisation
                start += len(linearisation)

    def _halve(self) -> None:
        if self._limit() == 1:
            raise SealiencyError(
                "the GPU has too little memory to attribute one sample at a time; free it, take a larger one, or set "
                "attribution.device: cpu"
            )
        self.at_once = self._limit() // 2
        torch.cuda.empty_cache()
        LOGGER.warning("out of GPU memory: going on with %d sample(s) at once", self.at_once)
