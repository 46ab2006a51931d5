"""Training one emulator, resumable after any epoch, or any batch that a signal stopped it at, to the same final weights."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from sealiency.config.data import Samples
from sealiency.config.emulator import LeadTraining
from sealiency.config.networks import Network
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import Split
from sealiency.emulators.devices import choose_device, choose_precision, set_up_process
from sealiency.emulators.emulator import load_torch, save_torch
from sealiency.emulators.interruption import Stopped, claim, collect_signals
from sealiency.emulators.networks.own_files import hash_code_of, hash_weights_of
from sealiency.emulators.training_state import TrainingState
from sealiency.files import write_whole
from sealiency.provenance import describe_provenance, hash_settings

LOGGER = logging.getLogger(__name__)

OWNER = "owner"


@dataclass(frozen=True)
class TrainingResult:
    """What training leaves behind."""

    weights: dict[str, Tensor]
    """Weights of the best epoch."""
    history: pd.DataFrame
    """One row an epoch: epoch, learning_rate, training_rmse, validation_rmse, persistence_rmse, seconds."""
    best_epoch: int
    precision: str
    device: str
    processors: list[str]
    """Names of the GPUs or processors that took turns, in their order."""


def train_emulator(
    anomaly: Tensor,
    ocean: Tensor,
    split: Split,
    history: int,
    network: Network,
    settings: LeadTraining,
    checkpoint: Path,
    fingerprint: str,
) -> TrainingResult:
    """Train until the epochs are done or validation stops improving, and keep the best epoch.

    Parameters
    ----------
    anomaly
        Standardised anomalies, float32 of shape (time, lat, lon), 0 on land.
    ocean
        Bool of shape (lat, lon).
    split
        Samples of each period; only training and validation are used.
    history
        Months of input.
    network, settings
        Network and training settings.
    checkpoint
        File that holds the whole state after each epoch and when a signal ends training; a run that finds it goes on
        from there. Under Slurm, `owner` beside it names the job that trains.
    fingerprint
        Hash of everything that the result depends on; a checkpoint with another one is not resumed.

    Raises
    ------
    SealiencyError
        If a loss is not finite, or another Slurm job trains the same emulator in place of this one.
    Stopped
        If SIGTERM or SIGUSR1 ended training; the checkpoint holds all that was done.
    """
    owner = checkpoint.with_name(OWNER)

    def save() -> None:
        claim(owner)
        save_torch({"fingerprint": fingerprint, **state.content()}, checkpoint)

    claim(owner, begin=True)
    with collect_signals() as signals:
        state = TrainingState(anomaly, ocean, split, history, network, settings, signals)
        content = load_torch(checkpoint, "fingerprint") if checkpoint.exists() else {}
        if content.get("fingerprint") == fingerprint:
            state.restore(content)
            LOGGER.info("resuming after %s from %s", state.describe_progress(), checkpoint)
        else:
            if content:
                LOGGER.info("%s belongs to other settings, data or code; starting afresh", checkpoint)
            state.begin()
            if not settings.epochs or state.network.skip is not None:
                # The skip alone is a forecast, and the best one where training spoils it.
                state.take_as_it_is()
        while state.epoch < settings.epochs and state.epoch - state.best_epoch < settings.patience:
            try:
                state.run_epoch()
            except Stopped as stopped:
                save()
                LOGGER.warning(
                    "stopped by %s after %s; the checkpoint is whole, and the same command goes on from it",
                    stopped.name,
                    state.describe_progress(),
                )
                raise
            save()
        state.calibrate()
    LOGGER.info("best epoch %d of %d", state.best_epoch, state.epoch)
    return TrainingResult(
        weights=state.best_weights,
        history=pd.DataFrame(state.rows),
        best_epoch=state.best_epoch,
        precision=str(state.precision).removeprefix("torch."),
        device=state.device.type,
        processors=state.processors,
    )


def train_and_save(
    record: PreparedRecord,
    network: Network,
    settings: LeadTraining,
    samples: Samples,
    code: str,
    threads: int,
    emulator: Path,
    history: Path,
) -> None:
    """Train one emulator on a prepared record and write its file and its training history.

    Parameters
    ----------
    record
        Prepared record.
    network, settings, samples
        Network, training and sampling settings.
    code
        Hash of the code that trains, so that a checkpoint of other code is not resumed.
    threads
        Processor threads.
    emulator
        PyTorch file to write: weights of the best epoch, network settings, the record's statistics and hash. While
        training runs, `checkpoint.pt` beside it holds the whole state after each epoch.
    history
        CSV file to write, one row an epoch; RMSE in standardised units.

    Raises
    ------
    SealiencyError
        If a loss is not finite, or another Slurm job trains the same emulator in place of this one.
    Stopped
        If SIGTERM or SIGUSR1 ended training; the same call goes on from the checkpoint.
    """
    set_up_process(threads)
    split = record.split(settings.lead, samples)
    if settings.samples:
        split = replace(split, training=split.training[-settings.samples :])
    checkpoint = emulator.with_name("checkpoint.pt")
    everything = {
        "network": network.model_dump(mode="json"),
        "training": settings.model_dump(mode="json"),
        "samples": samples.model_dump(mode="json"),
    }
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    # Another device, arithmetic or number of threads would go on to other weights than it began.
    machine = [device.type, str(precision), threads, torch.__version__]
    own_code = hash_code_of(network)
    fingerprint = hash_settings([everything, record.sha256, code, own_code, hash_weights_of(network), machine])
    result = train_emulator(
        record.anomaly, record.ocean, split, samples.history, network, settings, checkpoint, fingerprint
    )
    owner = checkpoint.with_name(OWNER)
    claim(owner)
    with write_whole(history) as partial:
        result.history.to_csv(partial, index=False)
    content = {
        "weights": result.weights,
        "network": network.model_dump(mode="json"),
        "network_code_sha256": own_code,
        "history": samples.history,
        "lead": settings.lead,
        "seed": settings.seed,
        "ocean": record.ocean,
        "lat": torch.from_numpy(record.lat),
        "lon": torch.from_numpy(record.lon),
        "scale": record.scale,
        "climatology": torch.tensor(record.statistics["climatology"].values),
        "trend": torch.tensor(record.statistics["trend"].values) if "trend" in record.statistics else None,
        "trend_reference": float(record.statistics["trend_reference"]) if "trend" in record.statistics else None,
        "record": record.attributes,
        "training_samples": [split.training.start, split.training.stop],
        "first_month": record.months[0],
        "prepared_sha256": record.sha256,
        "best_epoch": result.best_epoch,
        "precision": result.precision,
        "device": result.device,
        "processors": result.processors,
        "threads": threads,
        **describe_provenance(everything, {"prepared": record.sha256}),
    }
    save_torch(content, emulator)
    # The finished emulator takes its place; a run forced anew trains anew.
    checkpoint.unlink(missing_ok=True)
    owner.unlink(missing_ok=True)
