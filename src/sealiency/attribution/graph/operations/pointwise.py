"""What works on every value by itself: activations, batch norm, products with constants."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sealiency.attribution.graph.call import FIELD, Call, Signal
from sealiency.attribution.graph.operations.operation import (
    Addition,
    CellwiseOperation,
    LinearOperation,
    Part,
    Rows,
    Shape,
)
from sealiency.attribution.graph.windows import Window

# Activations that are straight on both sides of a few points: change over change is exact to rounding however small.
STRAIGHT = frozenset({"relu", "relu6", "leaky_relu", "prelu", "hardtanh", "abs", "clamp", "clamp_min", "clamp_max"})


def cut_constant(factor: Tensor, window: Window) -> Tensor:
    """Return the part of a constant, which may be one cell wide, that meets a window."""
    for axis, span in zip((-2, -1), window, strict=True):
        if factor.ndim >= -axis and factor.shape[axis] > 1:
            factor = factor.narrow(axis, span.start, span.stop - span.start)
    return factor


class Scale(LinearOperation):
    """A product with a constant, plus a constant; batch norm in evaluation mode is one.

    Parameters
    ----------
    shape
        Shape of the value.
    factor
        The constant, of a shape that broadcasts to (channel, row, column).
    compute
        The operation itself.
    everywhere
        Whether it is the same in every cell.
    """

    def __init__(
        self, shape: Shape, factor: Tensor, compute: Callable[[Tensor], Tensor], everywhere: bool = False
    ) -> None:
        super().__init__([shape], shape)
        self.factor = factor.detach()
        self.compute, self.everywhere = compute, everywhere

    def prepare(self, precision: torch.dtype) -> None:
        self.pulling = self.factor.to(precision)

    def forward(self, *fields: Tensor) -> Tensor:
        return self.compute(fields[0])

    def forward_part(self, window: Window, *parts: Part) -> Tensor:
        return self.forward(parts[0].cut(window)) if self.everywhere else super().forward_part(window, *parts)

    def pull(self, rows: Rows) -> list[Rows]:
        factor = self.pulling
        if factor.ndim == 3 and factor.shape[0] > 1:
            factor = factor[rows.first : rows.first + rows.values.shape[1]]
        return [Rows(rows.values * cut_constant(factor, rows.window), rows.window, rows.first)]


class Activation(CellwiseOperation):
    """An elementwise function, with a product with a constant before it where there is one.

    To the rescale rule it is a multiplication by (f(a) - f(a0)) / (a - a0), to a gradient by f'(a).
    """

    def __init__(self, shape: Shape, name: str, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__([shape], shape)
        self.name, self.function = name, function
        self.before: Scale | None = None

    def observe(self, field: Tensor) -> Tensor:
        """Return what the function is given."""
        return field if self.before is None else self.before.forward(field)

    def observe_part(self, window: Window, part: Part) -> Tensor:
        """Return what the function is given in a window."""
        return part.cut(window) if self.before is None else self.before.forward_part(window, part)

    def forward(self, *fields: Tensor) -> Tensor:
        return self.function(fields[0])

    def differentiate(self, a: Tensor) -> Tensor:
        """Return f'(a)."""
        if self.name == "relu":
            return (a > 0).to(a.dtype)
        with torch.enable_grad():
            at = a.detach().clone().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.function(at).sum(), at)
        return slope

    def rescale(self, a: Tensor, a0: Tensor) -> Tensor:
        """Return (f(a) - f(a0)) / (a - a0), and f' where nothing changes."""
        change = a - a0
        steep = (self.function(a) - self.function(a0)) / change
        if self.name in STRAIGHT:
            # No threshold is needed: where both are on one straight part, the rule is its slope to the last bits.
            return torch.where(change == 0, self.differentiate(a.expand_as(change)), steep)
        # Where rounding would spoil the quotient, the slope in the middle is as good.
        near = change.abs() <= torch.finfo(a.dtype).eps ** (1 / 3)
        return torch.where(near, self.differentiate((a + a0) / 2), steep)

    def scale(self, multiplier: Tensor, window: Window, precision: torch.dtype) -> Tensor:
        """Return a multiplier in a window times the constant before the function, in the arithmetic of the rows."""
        if self.before is not None:
            multiplier = multiplier * cut_constant(self.before.factor, window)
        return multiplier.to(precision).contiguous(memory_format=torch.channels_last)

    def multiply(self, rows: Rows, multiplier: Part, guided: bool) -> Rows:
        """Take rows back through it, given its multiplier."""
        part = multiplier.cut(rows.window)[:, rows.first : rows.first + rows.values.shape[1], None].transpose(1, 2)
        # In place where what a convolution has just pulled belongs to nobody else.
        values = rows.values if rows.own else rows.values.clone(memory_format=torch.channels_last)
        if guided:
            values.clamp_(min=0)
        values.unflatten(0, (len(part), -1)).mul_(part)
        return Rows(values, rows.window, rows.first)


def read_activation(call: Call) -> Signal:
    first = next(iter(call.given))
    signal = call.signal(first, axes=None)
    rest = {key: value for key, value in call.given.items() if key != first}
    if any(isinstance(value, Signal) for value in rest.values()):
        raise call.unknown(f"operation {call.name} of two signals")
    if any(isinstance(value, Tensor) and value.ndim > 1 and max(value.shape[-2:]) > 1 for value in rest.values()):
        raise call.unknown(f"operation {call.name} with a constant that differs from cell to cell")
    if any(isinstance(value, Tensor) and value.numel() > 1 for value in rest.values()) and signal.axes != FIELD:
        raise call.unknown(f"operation {call.name} on a value of ({', '.join(signal.axes)})")
    target = call.target
    return call.add(Activation(call.shape(signal), call.name, lambda x: target(x, **rest)), signal)


def read_power(call: Call) -> Signal:
    exponent = call.given["exponent"]
    if not isinstance(exponent, (int, float)):
        raise call.unknown("a power of two signals")
    signal, target = call.signal("self", axes=None), call.target
    return call.add(Activation(call.shape(signal), "pow", lambda x: target(x, exponent)), signal)


def read_batch_norm(call: Call) -> Signal:
    signal, given = call.signal(axes=None), call.given
    if given["training"] or given["running_var"] is None:
        raise call.unknown("batch norm with the statistics of the batch")
    if signal.axes[:2] != ("sample", "channel"):
        raise call.unknown(f"batch norm on a value of ({', '.join(signal.axes)})")
    mean, variance, weight, bias, eps = (
        given[name] for name in ("running_mean", "running_var", "weight", "bias", "eps")
    )
    scale = torch.sqrt(variance + eps)
    scale = (torch.ones_like(scale) if weight is None else weight) / scale

    def compute(x: Tensor) -> Tensor:
        return torch.nn.functional.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)

    return call.add(Scale(call.shape(signal), scale[:, None, None], compute, everywhere=True), signal)


def read_product(call: Call) -> Signal:
    one, other = call.given["self"], call.given["other"]
    if isinstance(one, Signal) and isinstance(other, Signal):
        raise call.unknown()
    if call.name == "div" and not isinstance(one, Signal):
        raise call.unknown("a quotient by a signal")
    if call.given.get("rounding_mode"):
        raise call.unknown("a rounded quotient")
    signal, constant = (one, other) if isinstance(one, Signal) else (other, one)
    factor = call.lay_out(constant, signal)
    if call.name == "div":
        return call.add(Scale(call.shape(signal), 1 / factor, lambda x: x / factor), signal)
    return call.add(Scale(call.shape(signal), factor, lambda x: x * factor), signal)


def read_negation(call: Call) -> Signal:
    signal = call.signal("self", axes=None)
    return call.add(
        Scale(call.shape(signal), -torch.ones_like(call.like).flatten()[:1].reshape(1, 1, 1), torch.neg), signal
    )


def read_mask(call: Call) -> Signal:
    """`where` and `masked_fill`: what a constant mask takes out has no attribution."""
    if call.name == "where":
        mask, one, other = call.given["condition"], call.given["self"], call.given["other"]
    else:
        mask, one, other = call.given["mask"], call.given["value"], call.given["self"]
    if isinstance(mask, Signal):
        raise call.unknown("a mask that depends on the input")
    if isinstance(one, Signal) and isinstance(other, Signal):
        kept = _scale_by_mask(call, one, mask, True), _scale_by_mask(call, other, mask, False)
        return call.add(Addition([call.shape(part) for part in kept], (1.0, 1.0)), *kept)
    signal, constant, keep = (one, other, True) if isinstance(one, Signal) else (other, one, False)
    return _scale_by_mask(call, signal, mask, keep, constant)


def _scale_by_mask(call: Call, signal: Signal, mask: Tensor, keep: bool, other: Any = 0.0) -> Signal:
    laid = call.lay_out(mask, signal).bool()
    kept = laid if keep else ~laid
    rest = call.lay_out(other, signal).to(call.like.dtype)
    return call.add(Scale(call.shape(signal), kept.to(call.like.dtype), lambda x: torch.where(kept, x, rest)), signal)
