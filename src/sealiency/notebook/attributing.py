"""Attribution of a network that is at hand: arrays in, xarray out."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn

from sealiency.attribution.completeness import check_completeness, measure_completeness
from sealiency.attribution.graph.tracing import find_like
from sealiency.attribution.methods import METHODS, build_method
from sealiency.config.attribution import Attribution
from sealiency.conventions import LAG
from sealiency.errors import SealiencyError


def attribute(
    network: nn.Module,
    inputs: Tensor | np.ndarray,
    pixels: Sequence[tuple[int, int]],
    method: str = "deeplift",
    baselines: Tensor | np.ndarray | None = None,
) -> xr.DataArray:
    """Attribute output pixels of a network to its inputs.

    Parameters
    ----------
    network
        Network in evaluation mode that maps (sample, lag, row, column) to (sample, 1, row, column), of operations with an
        exact rule (docs/attribution.md), in float32 or float64; its inputs are taken to its device.
    inputs
        Shape (sample, lag, row, column), in the network's precision.
    pixels
        Row and column of each output pixel.
    method
        Name of an attribution method: one of `sealiency.attribution.methods.METHODS`.
    baselines
        None for zero; a field of shape (lag, row, column), or several of shape (baseline, lag, row, column), which only
        `deeplift_shap` takes; in the network's precision.

    Returns
    -------
    xarray.DataArray
        Attributions in the network's precision, of shape (sample, pixel, lag, lat, lon), in units of the network's output.
        The coordinate `lag` is -n to -1; `row` and `column` are those of each pixel.

    Raises
    ------
    SealiencyError
        If an argument has another shape or precision, a pixel lies outside the grid, an operation of the network has no
        exact rule, or attributions do not sum to the change of the output.
    """
    if method not in METHODS:
        raise SealiencyError(f"method {method!r} is not one of {', '.join(METHODS)}")
    like = find_like(network)
    if not any(True for _ in itertools.chain(network.parameters(), network.buffers())):
        # A network without numbers has no precision of its own.
        like = like.to(torch.as_tensor(inputs).dtype)
    fields = _take(inputs, "inputs", like)
    lags, rows, columns = fields.shape[1:]
    zero = torch.zeros(1, *fields.shape[1:], dtype=fields.dtype, device=fields.device)
    given = zero if baselines is None else _take(baselines, "baselines", like)
    if given.shape[1:] != fields.shape[1:]:
        raise SealiencyError(f"baselines of shape {tuple(given.shape)} do not fit inputs of {tuple(fields.shape)}")
    if len(given) > 1 and method != "deeplift_shap":
        raise SealiencyError(f"{len(given)} baselines: {method} takes one, deeplift_shap takes several")
    for row, column in pixels:
        if not (0 <= row < rows and 0 <= column < columns):
            raise SealiencyError(f"pixel ({row}, {column}) lies outside the grid of {rows} x {columns}")
    settings = Attribution()
    precision = "float64" if fields.dtype == torch.float64 else "float32"
    attributor = build_method(
        method,
        network,
        given,
        settings.memory_gb * 1e9 / 2,
        settings.integration_steps,
        precision,
        settings.occlusion_window,
    )
    flat = [row * columns + column for row, column in pixels]
    values = torch.zeros(len(fields), len(flat), lags, rows, columns, dtype=fields.dtype)
    totals, magnitudes = np.zeros((2, len(fields), len(flat)))
    for tile in attributor.tiles(fields, flat) if flat else ():
        for number, pixel in enumerate(tile.pixels):
            part = tile.attributions[:, number]
            tile.window.cut(values[tile.samples, pixel]).copy_(part)
            totals[tile.samples, pixel] = part.sum((1, 2, 3), dtype=torch.float64).cpu()
            magnitudes[tile.samples, pixel] = part.abs().sum((1, 2, 3), dtype=torch.float64).cpu()
    if attributor.tolerance is not None and values.numel():
        expected = attributor.output_difference(fields)[:, flat].double().cpu().numpy()
        errors = measure_completeness(totals, magnitudes, expected)
        names = [f"(row {row}, column {column})" for row, column in pixels]
        check_completeness(errors, attributor.tolerance, attributor.mend, list(range(len(fields))), names)
    coordinates: dict[str, Any] = {
        "lag": ("lag", np.arange(-lags, 0, dtype=np.int32), LAG),
        "row": ("pixel", [row for row, _ in pixels]),
        "column": ("pixel", [column for _, column in pixels]),
    }
    return xr.DataArray(
        values.numpy(),
        dims=("sample", "pixel", "lag", "lat", "lon"),
        coords=coordinates,
        name="attribution",
        attrs={"method": method, "baseline": attributor.baseline_name},
    )


def _take(values: Tensor | np.ndarray, name: str, like: Tensor) -> Tensor:
    """Return fields of shape (field, lag, row, column) on the network's device, refusing another precision."""
    fields = torch.as_tensor(values)
    if fields.ndim == 3 and name == "baselines":
        fields = fields[None]
    if fields.ndim != 4:
        raise SealiencyError(f"{name} of shape {tuple(fields.shape)}: (sample, lag, row, column) is wanted")
    if fields.dtype != like.dtype:
        raise SealiencyError(f"{name} are {fields.dtype}, the network is {like.dtype}; convert one of the two")
    return fields.detach().to(like.device)
