"""Whitening of the history: months that repeat each other become channels that do not."""

import torch
from torch import Tensor, nn
from torch.nn import functional

# Of the mean variance of a month: what lies below it is not told from rounding and noise, and is not blown up. A mean over 12
# months leaves single months less than a hundredth of its variance.
FLOOR = 1e-5


class Whitening(nn.Module):
    """A fixed linear map of the months, the same at every cell, after which they are uncorrelated and of unit variance.

    Of all such maps it is the one whose channels stay nearest to the months (ZCA; Kessy, Lewin & Strimmer 2018, The American
    Statistician 72). Months of a running mean share most of their raw months, and what is new in each is a small difference of
    large numbers, which gradient descent finds late. The map is fitted on the training months, and not trained.

    Parameters
    ----------
    history
        Months of input.
    """

    matrix: Tensor
    """Float32 of shape (channel, lag, 1, 1)."""

    def __init__(self, history: int) -> None:
        super().__init__()
        self.register_buffer("matrix", torch.eye(history)[:, :, None, None].clone())

    def fit(self, months: Tensor, ocean: Tensor) -> None:
        """Fit the map.

        Parameters
        ----------
        months
            Anomalies that may be looked at, float32 of shape (time, lat, lon).
        ocean
            Bool of shape (lat, lon).
        """
        history = len(self.matrix)
        series = months[:, ocean].double()
        # Covariances by lag difference alone would not be positive definite: each pair has its own months.
        last = len(series) - history + 1
        covariance = torch.zeros(history, history, dtype=torch.float64)
        for one in range(history):
            for other in range(one, history):
                product = (series[one : one + last] * series[other : other + last]).mean()
                covariance[one, other] = covariance[other, one] = product
        variances, vectors = torch.linalg.eigh(covariance)
        scales = (variances.clamp(min=0) + FLOOR * variances.mean()).rsqrt()
        self.matrix.copy_((vectors * scales @ vectors.T)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Map (sample, lag, lat, lon) to (sample, channel, lat, lon)."""
        if torch.is_autocast_enabled(x.device.type):
            # Small differences of large numbers would vanish in bfloat16.
            with torch.autocast(x.device.type, enabled=False):
                return functional.conv2d(x, self.matrix)
        return functional.conv2d(x, self.matrix)
