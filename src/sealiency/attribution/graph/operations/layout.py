"""Parts of a value, and the order in which its axes are laid out."""

from collections.abc import Sequence
from typing import Any

from sealiency.attribution.graph.call import CELLS, FIELD, Call, Signal
from sealiency.attribution.graph.operations.joining import Channels
from sealiency.attribution.graph.operations.operation import Crop, Identity
from sealiency.attribution.graph.windows import Span, Window, whole


def read_nothing(call: Call) -> Signal:
    if call.given.get("train"):
        raise call.unknown(f"operation {call.name} that draws numbers in evaluation too")
    return call.signal(axes=None)


def read_copy(call: Call) -> Signal:
    signal = call.signal(axes=None)
    return call.add(Identity(call.shape(signal)), signal)


def read_conversion(call: Call) -> Signal:
    value = call.node.meta.get("val")
    if value is not None and value.dtype != call.like.dtype:
        raise call.unknown(f"a change to {value.dtype}")
    return call.signal(axes=None)


def read_slice(call: Call) -> Signal:
    signal, dim = call.signal("self", axes=None), call.given["dim"]
    sizes = call.sizes(signal)
    dim %= len(sizes)
    start, stop, step = slice(call.given.get("start"), call.given.get("end"), call.given.get("step")).indices(
        sizes[dim]
    )
    if step != 1:
        raise call.unknown("a slice with a step")
    return take_part(call, signal, dim, start, max(stop, start))


def take_part(call: Call, signal: Signal, dim: int, start: int, stop: int) -> Signal:
    shape, axis = call.shape(signal), signal.axes[dim]
    if (start, stop) == (0, call.sizes(signal)[dim]):
        return signal
    if axis == "channel":
        return call.add(Channels(shape, start, stop), signal)
    if axis in ("row", "column"):
        window = whole(shape.grid)
        part = Window(Span(start, stop), window.columns) if axis == "row" else Window(window.rows, Span(start, stop))
        return call.add(Crop(shape, part), signal)
    raise call.unknown(f"a slice along {axis}s")


def read_narrow(call: Call) -> Signal:
    signal = call.signal("self", axes=None)
    start = int(call.given["start"])
    return take_part(call, signal, call.given["dim"] % len(signal.axes), start, start + call.given["length"])


def read_select(call: Call) -> Signal:
    signal = call.signal("self", axes=None)
    dim = call.given["dim"] % len(signal.axes)
    if signal.axes[dim] != "channel":
        raise call.unknown(f"one {signal.axes[dim]} taken out")
    at = call.given["index"] % call.sizes(signal)[dim]
    taken = take_part(call, signal, dim, at, at + 1)
    return Signal(taken.number, signal.axes[:dim] + signal.axes[dim + 1 :])


def read_split(call: Call) -> list[Signal]:
    signal = call.signal("self", axes=None)
    dim = call.given["dim"] % len(signal.axes)
    size = call.sizes(signal)[dim]
    if call.name == "chunk":
        asked: Any = -(-size // call.given["chunks"])
    else:
        asked = next(call.given[key] for key in ("split_size", "split_sizes") if key in call.given)
    parts = asked if isinstance(asked, list) else [min(asked, size - start) for start in range(0, size, asked)]
    starts = [sum(parts[:at]) for at in range(len(parts))]
    return [take_part(call, signal, dim, start, start + few) for start, few in zip(starts, parts, strict=True)]


def read_reordering(call: Call) -> Signal:
    signal = call.signal("self", axes=None)
    axes = list(signal.axes)
    if call.name == "permute":
        axes = [signal.axes[dim] for dim in call.given["dims"]]
    elif call.name == "transpose":
        one, other = (call.given[name] % len(axes) for name in ("dim0", "dim1"))
        axes[one], axes[other] = axes[other], axes[one]
    elif call.name == "unsqueeze":
        if "channel" in axes or call.given["dim"] % (len(axes) + 1) != 1:
            raise call.unknown("an axis put in")
        axes.insert(1, "channel")
    elif call.name == "squeeze":
        dims = call.given.get("dim")
        dims = range(len(axes)) if dims is None else [dims] if isinstance(dims, int) else dims
        gone = [axes[dim] for dim in dims if call.sizes(signal)[dim] == 1]
        if gone not in ([], ["channel"]):
            raise call.unknown("an axis taken out")
        axes = [axis for axis in axes if axis not in gone]
    return Signal(signal.number, tuple(axes))


def read_reshaping(call: Call) -> Signal:
    """`flatten`, `unflatten` and `view`, between cells on a grid and cells in one line."""
    signal = call.signal("self", axes=None)
    wanted = list(call.node.meta["val"].shape)
    now = call.sizes(signal)
    if wanted == now:
        return signal
    for axes in (FIELD, CELLS, ("sample", "row", "column", "channel"), ("sample", "cell", "channel")):
        there = Signal(signal.number, axes)
        if call.sizes(there) == wanted and _flat(axes) == _flat(signal.axes):
            return there
    raise call.unknown(f"a change of shape from {now} to {wanted}")


def _flat(axes: Sequence[str]) -> tuple[str, ...]:
    return tuple(one for axis in axes for one in (("row", "column") if axis == "cell" else (axis,)))
