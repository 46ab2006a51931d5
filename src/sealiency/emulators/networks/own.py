"""The user's own network: built by their code, with their weights."""

import importlib
from pathlib import Path

import torch
from torch import Tensor, nn

from sealiency.config.networks import OwnNetwork
from sealiency.emulators.networks.forecaster import Forecaster
from sealiency.emulators.networks.own_files import look_in_working_directory
from sealiency.errors import SealiencyError
from sealiency.naming import expand_path


class Own(Forecaster):
    """The user's network; its dropout is its own.

    Parameters
    ----------
    settings
        Where its code is; weights are loaded by `load_weights`.
    history
        Months of input.
    grid
        Rows and columns of the region.
    dropout
        Of no effect.

    Raises
    ------
    SealiencyError
        If the code cannot be imported or run, or builds something else than a float32 network that maps
        (sample, history, lat, lon) to (sample, 1, lat, lon).
    """

    def __init__(self, settings: OwnNetwork, history: int, grid: tuple[int, int], dropout: float = 0.0) -> None:
        super().__init__(settings, history, grid)
        self.origin = f"network.build = {settings.build!r}"
        self.network = self._build(settings.build, history, grid)
        self._check(history, grid)

    def _build(self, build: str, history: int, grid: tuple[int, int]) -> nn.Module:
        module, function = build.split(":")
        try:
            with look_in_working_directory():
                found = getattr(importlib.import_module(module), function)
                network = found(history=history, grid=grid)
        except Exception as error:
            # What the user's own code says, whatever that is.
            raise SealiencyError(
                f"{self.origin}: {type(error).__name__}: {error}; mend the code or its name"
            ) from error
        if not isinstance(network, nn.Module):
            raise SealiencyError(f"{self.origin}: returned a {type(network).__name__}; return a torch.nn.Module")
        return network

    def _check(self, history: int, grid: tuple[int, int]) -> None:
        others = {str(p.dtype) for p in self.network.parameters() if p.dtype != torch.float32}
        if others:
            raise SealiencyError(f"{self.origin}: has {', '.join(sorted(others))} parameters; return network.float()")
        training = self.network.training
        try:
            with torch.no_grad():
                found = tuple(self.network.eval()(torch.zeros(1, history, *grid)).shape)
        except Exception as error:
            raise SealiencyError(
                f"{self.origin}: an input of (1, {history}, {grid[0]}, {grid[1]}) ends with {type(error).__name__}: {error}; "
                "samples.history and data.region must be those that the network takes"
            ) from error
        self.network.train(training)
        if found != (1, 1, *grid):
            raise SealiencyError(
                f"{self.origin}: gives {found} where {(1, 1, *grid)}, one field, is wanted; mend the code"
            )

    def compute(self, x: Tensor) -> Tensor:
        """Map (sample, channel, lat, lon) to (sample, 1, lat, lon)."""
        return self.network(x)


def load_weights(network: Own, name: str) -> None:
    """Load the user's weights; nothing in the file is executed.

    Parameters
    ----------
    network
        Network to change in place.
    name
        File of a state_dict, .pt, .pth or .safetensors.

    Raises
    ------
    SealiencyError
        If it cannot be read so, or holds other names or shapes than the network has.
    """
    path = expand_path(name)
    said = f"network.weights = {name!r}"
    if not path.is_file():
        raise SealiencyError(f"{said}: no such file; name one that is there")
    weights = _read_safetensors(path, said) if path.suffix == ".safetensors" else _read_torch(path, said)
    try:
        network.network.load_state_dict(weights)
    except RuntimeError as error:
        raise SealiencyError(f"{said} does not fit {network.origin}: {' '.join(str(error).split())}") from None


def _read_torch(path: Path, said: str) -> dict[str, Tensor]:
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:
        # PyTorch's own words advise to execute what the file holds.
        weights = None
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise SealiencyError(
            f"{said}: holds more than a state_dict, and opening it could execute code; save the weights alone with "
            "torch.save(network.state_dict(), 'weights.pt')"
        )
    return weights


def _read_safetensors(path: Path, said: str) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise SealiencyError(f"{said}: needs the package safetensors; pip install 'sealiency[safetensors]'") from None
    try:
        return load_file(path)
    except Exception as error:
        raise SealiencyError(f"{said}: cannot be read as safetensors ({error}); save it again") from None
