"""Attention to a map that the network learns: LFI-CAM (Lee et al. 2021, ICCV) without its class scores."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class FeatureAttention(nn.Module):
    """A branch learns how much each feature map matters; their weighted sum, between 0 and 1, says where features are amplified.

    Features are multiplied by 1 + attention: two signals, so that no rule of the attribution engine is exact for it.

    Parameters
    ----------
    channels
        Feature maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // 2)
        self.importance = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ReLU(), nn.Conv2d(hidden, channels, 1))

    def attend(self, x: Tensor) -> Tensor:
        """Map features, (sample, channel, lat, lon), to the attention map, (sample, 1, lat, lon), from 0 to 1."""
        importance = torch.softmax(self.importance(functional.adaptive_avg_pool2d(x, 1)), dim=1)
        return torch.sigmoid((importance * x).sum(1, keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        """Map features to features of the same shape."""
        return x * (1 + self.attend(x))
