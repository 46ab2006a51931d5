"""A trained emulator: its file, its identity and its forecasts."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sealiency.config.networks import parse_network
from sealiency.emulators.devices import set_up_process
from sealiency.emulators.networks.forecaster import Forecaster
from sealiency.emulators.networks.own_files import hash_code_of
from sealiency.emulators.networks.registry import build_network
from sealiency.errors import SealiencyError
from sealiency.files import write_whole


@dataclass(frozen=True)
class Emulator:
    """A network in evaluation mode with what is needed to use it."""

    network: Forecaster
    ocean: Tensor
    """Bool of shape (lat, lon)."""
    lead: int
    seed: int
    history: int
    training_samples: range
    """Numbers of the samples that it was trained on."""
    prepared_sha256: str
    model_sha256: str

    def check_record(self, prepared_sha256: str) -> None:
        """Refuse a prepared record that the emulator was not trained on.

        Raises
        ------
        SealiencyError
            If the hashes of the record and of the one trained on differ.
        """
        if self.prepared_sha256 != prepared_sha256:
            raise SealiencyError(
                f"the lead-{self.lead} emulator was trained on another prepared record (SHA-256 "
                f"{self.prepared_sha256[:12]}, not {prepared_sha256[:12]}); train it again"
            )

    def forecast(self, inputs: Tensor, batch_size: int = 32) -> Tensor:
        """Forecast in batches, without gradients.

        Parameters
        ----------
        inputs
            Standardised anomalies of shape (sample, history, lat, lon).
        batch_size
            Samples forecast at once.

        Returns
        -------
        Tensor
            Unmasked forecasts, float32 of shape (sample, lat, lon).
        """
        self.network.eval()
        with torch.inference_mode():
            return torch.cat([self.network(batch)[:, 0] for batch in inputs.split(batch_size)])


def hash_weights(weights: dict[str, Tensor]) -> str:
    """Return the SHA-256 of weights: names, types, shapes and values, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        values = weights[name].detach().cpu().contiguous()
        digest.update(json.dumps([name, str(values.dtype), list(values.shape)]).encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()


def save_torch(content: dict[str, Any], path: str | Path) -> None:
    """Write tensors and plain values as a PyTorch file, whole or not at all."""
    with write_whole(path) as partial:
        torch.save(content, partial)


def load_torch(path: str | Path, *keys: str) -> dict[str, Any]:
    """Read a PyTorch file of tensors and plain values; nothing in it is executed.

    Parameters
    ----------
    path
        The file.
    keys
        What it must hold.

    Raises
    ------
    SealiencyError
        If the file is missing, damaged or another program's.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise SealiencyError(f"{path}: no such file; run again to make it") from None
    except Exception:
        # PyTorch's own words advise to execute what the file holds.
        raise _foreign(path) from None
    if not isinstance(content, dict) or not set(keys) <= set(content):
        raise _foreign(path)
    return content


def _foreign(path: str | Path) -> SealiencyError:
    return SealiencyError(
        f"{path}: cannot be read as a file of this project, so it is another's or damaged; delete it and run again to make it "
        "anew"
    )


def load_emulator(path: str | Path, threads: int | None = None) -> Emulator:
    """Read an emulator file written by training.

    Parameters
    ----------
    path
        The file.
    threads
        Processor threads of a process that runs the network (`set_up_process`); None only reads the file.

    Raises
    ------
    SealiencyError
        If the file is damaged or no emulator of this project.
    """
    if threads is not None:
        set_up_process(threads)
    content = load_torch(
        *(path, "network", "history", "ocean", "weights", "lead", "seed", "training_samples", "prepared_sha256")
    )
    try:
        settings = parse_network(content["network"])
        if content.get("network_code_sha256") != hash_code_of(settings):
            raise SealiencyError(
                f"{path}: the code of the network is another than it was made with; run again to make it anew"
            )
        network = build_network(settings, content["history"], tuple(content["ocean"].shape))
        network.load_state_dict(content["weights"])
    except (AttributeError, RuntimeError, TypeError, ValueError):
        raise _foreign(path) from None
    return Emulator(
        network=network.eval(),
        ocean=content["ocean"],
        lead=content["lead"],
        seed=content["seed"],
        history=content["history"],
        training_samples=range(*content["training_samples"]),
        prepared_sha256=content["prepared_sha256"],
        model_sha256=hash_weights(content["weights"]),
    )
