"""The attribution methods by name.

Every method explains single pixels of an emulator's unmasked output. Whoever needs attributions asks any object with the
`Attributor` protocol for tiles. All but occlusion pull rows through one engine, which makes the explanation of every ocean pixel
possible.
"""

from torch import Tensor, nn

from sealiency.attribution.attributor import Attributor, Method
from sealiency.attribution.deeplift import DeepLift, DeepLiftShap
from sealiency.attribution.gradients import GuidedBackprop, InputXGradient, IntegratedGradients, Saliency
from sealiency.attribution.occlusion import Occlusion
from sealiency.config.attribution import REFUSED_METHODS
from sealiency.errors import SealiencyError

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        DeepLift,
        DeepLiftShap,
        IntegratedGradients,
        GuidedBackprop,
        InputXGradient,
        Saliency,
        Occlusion,
    )
}


def build_method(
    name: str,
    network: nn.Module,
    baselines: Tensor,
    memory: float,
    steps: int,
    precision: str,
    occlusion_window: tuple[int, int, int],
) -> Attributor:
    """Return a method by its configured name; see `Method` for the parameters and further errors.

    Raises
    ------
    SealiencyError
        If the method is one that is known and refused.
    """
    if name in REFUSED_METHODS:
        raise SealiencyError(f"method {name}: {REFUSED_METHODS[name]}")
    return METHODS[name](network, baselines, memory, steps, precision, occlusion_window)
