"""The operations by the name that PyTorch gives them."""

from collections.abc import Callable
from typing import Any

from sealiency.attribution.graph.call import Call
from sealiency.attribution.graph.operations.convolution import (
    read_convolution,
    read_linear,
    read_transposed_convolution,
)
from sealiency.attribution.graph.operations.joining import read_concatenation, read_shuffle, read_sum
from sealiency.attribution.graph.operations.layout import (
    read_conversion,
    read_copy,
    read_narrow,
    read_nothing,
    read_reordering,
    read_reshaping,
    read_select,
    read_slice,
    read_split,
)
from sealiency.attribution.graph.operations.pointwise import (
    read_activation,
    read_batch_norm,
    read_mask,
    read_negation,
    read_power,
    read_product,
)
from sealiency.attribution.graph.operations.separable import (
    read_interpolation,
    read_mean,
    read_padding,
    read_pooling,
    read_shift,
)

ACTIVATIONS = frozenset(
    [
        "relu",
        "relu6",
        "leaky_relu",
        "prelu",
        "elu",
        "celu",
        "selu",
        "gelu",
        "silu",
        "mish",
        "sigmoid",
        "tanh",
        "softplus",
        "hardtanh",
        "hardsigmoid",
        "hardswish",
        "hardshrink",
        "softshrink",
        "threshold",
        "log_sigmoid",
        "exp",
        "expm1",
        "log1p",
        "abs",
        "sin",
        "cos",
        "atan",
        "erf",
        "square",
        "sqrt",
        "clamp",
        "clamp_min",
        "clamp_max",
    ]
)
NOTHING = frozenset(
    [
        "dropout",
        "feature_dropout",
        "alpha_dropout",
        "feature_alpha_dropout",
        "detach",
        "alias",
        "contiguous",
        "lift_fresh_copy",
    ]
)

READERS: dict[str, Callable[[Call], Any]] = {
    "conv2d": read_convolution,
    "conv_transpose2d": read_transposed_convolution,
    "linear": read_linear,
    "batch_norm": read_batch_norm,
    "mul": read_product,
    "div": read_product,
    "neg": read_negation,
    "where": read_mask,
    "masked_fill": read_mask,
    "pow": read_power,
    "add": read_sum,
    "sub": read_sum,
    "rsub": read_sum,
    "cat": read_concatenation,
    "slice": read_slice,
    "narrow": read_narrow,
    "select": read_select,
    "split": read_split,
    "split_with_sizes": read_split,
    "chunk": read_split,
    "permute": read_reordering,
    "transpose": read_reordering,
    "unsqueeze": read_reordering,
    "squeeze": read_reordering,
    "flatten": read_reshaping,
    "unflatten": read_reshaping,
    "view": read_reshaping,
    "reshape": read_reshaping,
    "_unsafe_view": read_reshaping,
    "upsample_nearest2d": read_interpolation,
    "_upsample_nearest_exact2d": read_interpolation,
    "upsample_bilinear2d": read_interpolation,
    "upsample_bicubic2d": read_interpolation,
    "_upsample_bilinear2d_aa": read_interpolation,
    "_upsample_bicubic2d_aa": read_interpolation,
    "avg_pool2d": read_pooling,
    "adaptive_avg_pool2d": read_pooling,
    "mean": read_mean,
    "pad": read_padding,
    "roll": read_shift,
    "flip": read_shift,
    "pixel_shuffle": read_shuffle,
    "pixel_unshuffle": read_shuffle,
    "clone": read_copy,
    "to": read_conversion,
    "_to_copy": read_conversion,
}
READERS |= dict.fromkeys(ACTIVATIONS, read_activation) | dict.fromkeys(NOTHING, read_nothing)
