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
    level
        Whether the mean of each cell's months is kept. Without it, inputs that are all warmer by the same amount give the same
        channels.
    """

    matrix: Tensor
    """Float32 of shape (channel, lag, 1, 1)."""

    def __init__(self, history: int, level: bool = True) -> None:
        super().__init__()
        self.level = level
        self.register_buffer("matrix", self._keep(history).float()[:, :, None, None].clone())

    def _keep(self, history: int) -> Tensor:
        """Return what takes the mean of so many months out of them, or the identity."""
        identity = torch.eye(history, dtype=torch.float64)
        return identity if self.level else identity - 1 / history

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
        keep = self._keep(history)
        variances, vectors = torch.linalg.eigh(keep @ covariance @ keep)
        scales = (variances.clamp(min=0) + FLOOR * variances.mean()).rsqrt()
        # Taken out on both sides, or rounding of the mean would be blown up to unit variance.
        self.matrix.copy_((keep @ (vectors * scales @ vectors.T) @ keep)[:, :, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Map (sample, lag, lat, lon) to (sample, channel, lat, lon)."""
        if torch.is_autocast_enabled(x.device.type):
            # Small differences of large numbers would vanish in bfloat16.
            with torch.autocast(x.device.type, enabled=False):
                return functional.conv2d(x, self.matrix)
        return functional.conv2d(x, self.matrix)
