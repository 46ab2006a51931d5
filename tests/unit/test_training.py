import copy
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import small_world
from sealiency.data.samples import Split
from sealiency.emulators import emulator, training, training_state
from sealiency.emulators.devices import choose_device, choose_precision
from sealiency.emulators.emulator import hash_weights, load_emulator, load_torch, save_torch
from sealiency.emulators.interruption import Stopped
from sealiency.emulators.networks.densenet import DenseNet
from sealiency.emulators.training import train_and_save, train_emulator
from sealiency.emulators.training_state import TrainingState, masked_mse, weighted_likelihood
from sealiency.errors import SealiencyError
from small_world import HISTORY, NETWORK, SAMPLES, TRAINING

SETTINGS = TRAINING.model_copy(update={"epochs": 4, "dropout": 0.4, "batch_size": 7, "schedule": "cosine"})


def train(record, checkpoint, settings=SETTINGS, fingerprint="same", anomaly=None, ocean=None):
    return train_emulator(
        record.anomaly if anomaly is None else anomaly,
        record.ocean if ocean is None else ocean,
        record.split(settings.lead, SAMPLES),
        HISTORY,
        NETWORK,
        settings,
        checkpoint,
        fingerprint,
    )


def fix_validation(monkeypatch, scores):
    """Let validation return these RMSE, one an epoch."""
    given = iter(scores)
    monkeypatch.setattr(TrainingState, "_validate", lambda self: next(given))


def assert_same_history(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one.drop(columns="seconds"), other.drop(columns="seconds"), check_exact=True)


# --- the loss ---


def test_loss_by_hand():
    forecast = torch.tensor([[[1.0, 2.0], [3.0, 100.0]], [[0.0, 0.0], [0.0, -100.0]]])
    target = torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[1.0, 1.0], [2.0, 0.0]]])
    ocean = torch.tensor([[True, True], [True, False]])
    assert masked_mse(forecast, target, ocean).item() == pytest.approx((1 + 4 + 9 + 1 + 1 + 4) / 6)


def test_land_has_no_say_in_the_loss():
    ocean = torch.tensor([[True, False]])
    forecast = torch.tensor([[[1.0, torch.nan]]], requires_grad=True)
    loss = masked_mse(forecast, torch.tensor([[[0.0, torch.inf]]]), ocean)
    loss.backward()
    assert loss.item() == 1
    assert forecast.grad.tolist() == [[[2.0, 0.0]]]


def test_weighted_likelihood_by_hand():
    ocean = torch.tensor([[True, False]])
    forecast, target = torch.tensor([[[1.0, 9.0]], [[0.0, 9.0]]]), torch.tensor([[[3.0, 0.0]], [[1.0, 0.0]]])
    log_variance = torch.tensor([[[2.0, 5.0]], [[-1.0, 5.0]]], requires_grad=True)
    terms = [(4 * math.exp(-2) + 2) / 2, (math.exp(1) - 1) / 2]
    plain = weighted_likelihood(forecast, log_variance, target, ocean, 0)
    assert plain.item() == pytest.approx(sum(terms) / 2)
    loss = weighted_likelihood(forecast, log_variance, target, ocean, 0.5)
    assert loss.item() == pytest.approx((math.exp(1) * terms[0] + math.exp(-0.5) * terms[1]) / 2)
    loss.backward()
    # The weight is not trained: the derivative of each term is that of the likelihood times the weight.
    expected = [math.exp(1) * (1 - 4 * math.exp(-2)) / 4, math.exp(-0.5) * (1 - math.exp(1)) / 4]
    torch.testing.assert_close(log_variance.grad[:, 0, 0], torch.tensor(expected))
    assert not log_variance.grad[:, 0, 1].any()


# --- what is kept ---


def test_the_average_of_the_weights_is_kept(record, tmp_path):
    """Weights of a decay of 0 are those trained last; of a decay near 1 those of the first step."""
    settings = SETTINGS.model_copy(update={"epochs": 2, "dropout": 0.0, "schedule": "constant", "patience": 9})
    plain, last, slow = (
        train(record, tmp_path / f"{decay}.pt", settings.model_copy(update={"averaging": decay}))
        for decay in (0, 1e-9, 0.97)
    )
    for name, values in plain.weights.items():
        torch.testing.assert_close(last.weights[name], values, atol=1e-5, rtol=1e-5)
    assert hash_weights(slow.weights) != hash_weights(plain.weights)
    assert (slow.history["training_rmse"] == plain.history["training_rmse"]).all()
    assert (slow.history["validation_rmse"] != plain.history["validation_rmse"]).any()


# --- resuming ---


@pytest.mark.parametrize("averaging", [0, 0.9])
@pytest.mark.parametrize("calls", [2, 9])
def test_an_average_goes_on_where_it_was(record, tmp_path, monkeypatch, averaging, calls):
    settings = SETTINGS.model_copy(update={"averaging": averaging})
    whole = train(record, tmp_path / "whole.pt", settings)
    with monkeypatch.context() as patch:
        signal_at(patch, {calls})
        with pytest.raises(Stopped):
            train(record, tmp_path / "cut.pt", settings)
    resumed = train(record, tmp_path / "cut.pt", settings)
    assert hash_weights(resumed.weights) == hash_weights(whole.weights)
    assert_same_history(resumed.history, whole.history)


@pytest.mark.parametrize("epochs_done", [1, 3])
def test_resumed_training_ends_at_the_same_weights(record, tmp_path, monkeypatch, epochs_done):
    whole = train(record, tmp_path / "whole.pt")
    original = TrainingState.run_epoch

    def run_epoch(self):
        if self.epoch == epochs_done:
            raise KeyboardInterrupt
        original(self)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "run_epoch", run_epoch)
        with pytest.raises(KeyboardInterrupt):
            train(record, tmp_path / "cut.pt")
    assert load_torch(tmp_path / "cut.pt")["epoch"] == epochs_done
    # Whatever else drew random numbers meanwhile.
    torch.manual_seed(999)
    resumed = train(record, tmp_path / "cut.pt")
    assert hash_weights(resumed.weights) == hash_weights(whole.weights)
    assert resumed.best_epoch == whole.best_epoch
    assert_same_history(resumed.history, whole.history)
    final = [load_torch(tmp_path / name)["weights"] for name in ("whole.pt", "cut.pt")]
    assert hash_weights(final[0]) == hash_weights(final[1])


def test_epoch_cut_short_in_its_middle_begins_again(record, tmp_path, monkeypatch):
    whole = train(record, tmp_path / "whole.pt")
    original = TrainingState._forecast
    calls = iter(range(100))

    def forecast(self, samples, *more, **options):
        # An epoch is 4 batches of training and 2 of validation; this is in the third epoch.
        if next(calls) == 14:
            raise KeyboardInterrupt
        return original(self, samples, *more, **options)

    with monkeypatch.context() as patch:
        patch.setattr(TrainingState, "_forecast", forecast)
        with pytest.raises(KeyboardInterrupt):
            train(record, tmp_path / "cut.pt")
    assert load_torch(tmp_path / "cut.pt")["epoch"] == 2
    resumed = train(record, tmp_path / "cut.pt")
    assert hash_weights(resumed.weights) == hash_weights(whole.weights)
    assert_same_history(resumed.history, whole.history)


def test_finished_training_is_not_repeated(record, tmp_path, monkeypatch):
    first = train(record, tmp_path / "checkpoint.pt")
    monkeypatch.setattr(TrainingState, "run_epoch", lambda self: pytest.fail("an epoch was run"))
    again = train(record, tmp_path / "checkpoint.pt")
    assert hash_weights(again.weights) == hash_weights(first.weights)


def test_checkpoint_of_other_settings_is_not_resumed(record, tmp_path):
    fresh = train(record, tmp_path / "fresh.pt")
    other = SETTINGS.model_copy(update={"epochs": 2, "seed": 7})
    train(record, tmp_path / "checkpoint.pt", other, fingerprint="other")
    result = train(record, tmp_path / "checkpoint.pt")
    assert result.history["epoch"].tolist() == [1, 2, 3, 4]
    assert hash_weights(result.weights) == hash_weights(fresh.weights)


def test_damaged_checkpoint_is_named(record, tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_torch({"fingerprint": "same"}, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SealiencyError, match=r"checkpoint.pt: cannot be read .* delete it and run again"):
        train(record, path)


class _Payload:
    """Pickled, it creates a file wherever it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def change_network(content, trace):
    return content | {"network": content["network"] | {"growth_rate": 5}}


@pytest.mark.parametrize(
    "damage",
    [
        lambda content, trace: _Payload(trace),
        lambda content, trace: content | {"extra": _Payload(trace)},
        lambda content, trace: torch.zeros(3),
        lambda content, trace: {"weights": content["weights"]},
        change_network,
        lambda content, trace: content | {"network": {"wings": 2}},
        lambda content, trace: content | {"ocean": "everywhere"},
    ],
    ids=["payload", "payload inside", "tensor", "weights alone", "other shapes", "other settings", "other types"],
)
def test_emulator_of_another_program_is_refused_and_not_executed(emulator_path, tmp_path, damage):
    trace, path = tmp_path / "executed", tmp_path / "emulator.pt"
    torch.save(damage(load_torch(emulator_path), trace), path)
    with pytest.raises(SealiencyError) as caught:
        load_emulator(path)
    assert str(caught.value) == (
        f"{path}: cannot be read as a file of this project, so it is another's or damaged; delete it and run again to make it anew"
    )
    assert not trace.exists()


def test_seed_decides_the_weights(record, tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 1})
    hashes = [
        hash_weights(train(record, tmp_path / f"{n}.pt", settings.model_copy(update={"seed": seed})).weights)
        for n, seed in enumerate((0, 0, 1))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


# --- interruption ---

# The numbers of the forecasts of four epochs, each of 4 batches of training and 2 of validation.
FORECASTS = 24
BFLOAT16 = SETTINGS.model_copy(update={"precision": "bfloat16"})


@pytest.fixture(autouse=True)
def _outside_slurm(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def signal_at(monkeypatch, moments, number=signal.SIGTERM):
    """Let this process send itself a signal in these forecasts, counted over all trainings; return their list."""
    original = TrainingState._forecast
    calls = []

    def forecast(self, samples, *more, **options):
        if len(calls) in moments:
            os.kill(os.getpid(), number)
        calls.append(samples)
        return original(self, samples, *more, **options)

    monkeypatch.setattr(TrainingState, "_forecast", forecast)
    return calls


def train_to_the_end(record, checkpoint, settings=SETTINGS):
    """Train again until it ends by itself, and return how often that was and the result."""
    for stops in range(100):
        # Whatever else drew random numbers meanwhile.
        torch.manual_seed(stops)
        try:
            return stops, train(record, checkpoint, settings)
        except Stopped:
            pass
    return pytest.fail("training never ends")


def assert_same_training(one, other) -> None:
    (first, first_checkpoint), (second, second_checkpoint) = one, other
    assert hash_weights(first.weights) == hash_weights(second.weights)
    assert first.best_epoch == second.best_epoch
    assert_same_history(first.history, second.history)
    states = [dict(list_values(load_torch(path))) for path in (first_checkpoint, second_checkpoint)]
    assert states[0] == states[1]


def list_values(content, place=()):
    """Yield all that a checkpoint holds with its place, but for times."""
    if isinstance(content, dict | list):
        for name, value in content.items() if isinstance(content, dict) else enumerate(content):
            if name != "seconds":
                yield from list_values(value, (*place, name))
    else:
        yield place, content.tolist() if isinstance(content, torch.Tensor) else content


@pytest.fixture(scope="module")
def undisturbed(record, tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("undisturbed")
    return {
        settings.precision: (train(record, path, settings), path)
        for settings in (SETTINGS, BFLOAT16)
        if (path := folder / f"{settings.precision}.pt")
    }


@pytest.mark.parametrize("moment", [0, 1, 3, 4, 5, 6, 14, 21, 22, FORECASTS - 1])
def test_stopped_at_any_batch_training_ends_at_the_same_weights(record, undisturbed, tmp_path, monkeypatch, moment):
    calls = signal_at(monkeypatch, [moment])
    with pytest.raises(Stopped):
        train(record, tmp_path / "cut.pt")
    assert len(calls) == moment + 1
    epoch, place = divmod(moment, 6)
    content = load_torch(tmp_path / "cut.pt")
    assert content["epoch"] == epoch
    assert len(content["left"]) == max(24 - 7 * (place + 1), 0)
    result = train(record, tmp_path / "cut.pt")
    # Of all that was done, batches of validation alone are done again.
    assert len(calls) == FORECASTS + max(place - 3, 0)
    assert_same_training((result, tmp_path / "cut.pt"), undisturbed["float32"])


@pytest.mark.parametrize("settings", [SETTINGS, BFLOAT16])
def test_stopped_many_times_training_ends_at_the_same_weights(record, undisturbed, tmp_path, monkeypatch, settings):
    signal_at(monkeypatch, range(0, 60, 3))
    stops, result = train_to_the_end(record, tmp_path / "cut.pt", settings)
    assert stops >= 8
    assert_same_training((result, tmp_path / "cut.pt"), undisturbed[settings.precision])


def test_stop_between_epochs(record, undisturbed, tmp_path, monkeypatch):
    original = TrainingState.run_epoch

    def run_epoch(self):
        if self.epoch == 2 and not (tmp_path / "told").exists():
            (tmp_path / "told").touch()
            os.kill(os.getpid(), signal.SIGTERM)
        original(self)

    monkeypatch.setattr(TrainingState, "run_epoch", run_epoch)
    with pytest.raises(Stopped):
        train(record, tmp_path / "cut.pt")
    assert load_torch(tmp_path / "cut.pt")["epoch"] == 2
    assert_same_training((train(record, tmp_path / "cut.pt"), tmp_path / "cut.pt"), undisturbed["float32"])


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
def test_stop_is_told_and_handlers_are_put_back(record, tmp_path, monkeypatch, caplog, number, status):
    def own(*_):
        pytest.fail("a signal of training came here")

    before = {each: signal.signal(each, own) for each in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        signal_at(monkeypatch, [8], number)
        caplog.set_level("INFO")
        with pytest.raises(SystemExit) as stopped:
            train(record, tmp_path / "cut.pt")
        assert {each: signal.getsignal(each) for each in before} == dict.fromkeys(before, own)
        train(record, tmp_path / "cut.pt")
        assert {each: signal.getsignal(each) for each in before} == dict.fromkeys(before, own)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert stopped.value.code == status
    name = signal.Signals(number).name
    said = f"stopped by {name} after 3 of 4 batches of epoch 2; the checkpoint is whole, and the same command goes on"
    assert [message for message in caplog.messages if message.startswith(said)]
    assert any(message.startswith("resuming after 3 of 4 batches of epoch 2 from") for message in caplog.messages)


def test_seconds_of_an_interrupted_epoch_count_what_was_done_before(record, tmp_path, monkeypatch):
    calls = signal_at(monkeypatch, [2])
    original = TrainingState._forecast

    def slow(self, samples, *more, **options):
        time.sleep(0.2 if len(calls) < 3 else 0)
        return original(self, samples, *more, **options)

    monkeypatch.setattr(TrainingState, "_forecast", slow)
    with pytest.raises(Stopped):
        train(record, tmp_path / "cut.pt")
    history = train(record, tmp_path / "cut.pt").history
    assert history["seconds"][0] > 0.6 > history["seconds"][1]


def test_signals_while_the_checkpoint_is_written_do_it_no_harm(record, undisturbed, tmp_path, monkeypatch):
    signal_at(monkeypatch, [9])
    original = torch.save
    told = []

    def save(content, path):
        told.append(content["left"] is not None)
        if told[-1]:
            os.kill(os.getpid(), signal.SIGUSR1)
        original(content, path)
        if told[-1]:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", save)
        with pytest.raises(Stopped):
            train(record, tmp_path / "cut.pt")
    assert told == [False, True]
    assert_same_training((train(record, tmp_path / "cut.pt"), tmp_path / "cut.pt"), undisturbed["float32"])


def test_training_outside_the_main_thread_does_without_signals(record, tmp_path):
    results = []
    settings = SETTINGS.model_copy(update={"epochs": 1})
    worker = threading.Thread(target=lambda: results.append(train(record, tmp_path / "checkpoint.pt", settings)))
    worker.start()
    worker.join()
    assert len(results[0].history) == 1


JOB = """
import sys
from pathlib import Path
sys.path.append(sys.argv[1])
from sealiency.data.prepare import PreparedRecord
from sealiency.logs import log_job
from sealiency.emulators import emulator, training
from small_world import NETWORK, SAMPLES, TRAINING
folder = Path(sys.argv[3])
settings = TRAINING.model_copy(update={"epochs": int(sys.argv[4]), "dropout": 0.4})
with log_job(folder / "job.log"):
    record = PreparedRecord(sys.argv[2])
    training.train_and_save(record, NETWORK, settings, SAMPLES, "code", 1, folder / "emulator.pt", folder / "history.csv")
"""


def test_job_that_is_told_to_stop_ends_by_its_own_account(prepared_path, tmp_path):
    command = [sys.executable, "-c", JOB, str(Path(small_world.__file__).parent), str(prepared_path), str(tmp_path)]
    with subprocess.Popen([*command, "100000"], stderr=subprocess.DEVNULL) as job:
        deadline = time.monotonic() + 60
        while not (tmp_path / "checkpoint.pt").exists():
            assert job.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        job.send_signal(signal.SIGTERM)
        assert job.wait(30) == 143
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.pt", "job.log"]
    last = (tmp_path / "job.log").read_text().splitlines()[-1]
    assert "stopped by SIGTERM after" in last
    assert last.endswith("the checkpoint is whole, and the same command goes on from it")
    assert load_torch(tmp_path / "checkpoint.pt")["epoch"] >= 1


# --- a job that was replaced ---


def test_a_later_job_takes_over_and_the_earlier_one_writes_nothing(record, tmp_path, monkeypatch):
    checkpoint, owner = tmp_path / "checkpoint.pt", tmp_path / "owner"
    original = TrainingState.run_epoch
    seen = []

    def run_epoch(self):
        seen.append((owner.read_text(), checkpoint.exists()))
        original(self)
        if len(seen) == 2:
            owner.write_text("17\n")
            checkpoint.write_bytes(b"of job 17")

    monkeypatch.setattr(TrainingState, "run_epoch", run_epoch)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    message = "Slurm job 12 was replaced by job 17, which trains the same emulator; nothing to mend, this one ends"
    with pytest.raises(SealiencyError, match=message):
        train(record, checkpoint)
    assert seen == [("12\n", False), ("12\n", True)]
    assert (owner.read_text(), checkpoint.read_bytes()) == ("17\n", b"of job 17")
    # Put into the queue once more, it ends before it begins.
    with pytest.raises(SealiencyError, match=message):
        train(record, checkpoint)
    assert len(seen) == 2
    assert owner.read_text() == "17\n"


@pytest.mark.parametrize("done", [True, False])
def test_a_replaced_job_leaves_the_finished_files_alone(record, tmp_path, monkeypatch, done):
    # The later job is done and has removed its traces, or is about to be.
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    original = training.train_emulator

    def train_late(*arguments):
        result = original(*arguments)
        (tmp_path / "emulator.pt").write_bytes(b"of job 17")
        (tmp_path / "history.csv").write_bytes(b"of job 17")
        (tmp_path / "checkpoint.pt").unlink()
        (tmp_path / "owner").unlink() if done else (tmp_path / "owner").write_text("17")
        return result

    monkeypatch.setattr(training, "train_emulator", train_late)
    with pytest.raises(SealiencyError, match=r"Slurm job 12 was replaced by (another|job 17)"):
        save(record, tmp_path)
    assert (tmp_path / "emulator.pt").read_bytes() == (tmp_path / "history.csv").read_bytes() == b"of job 17"
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize("earlier", ["9", "12"])
def test_a_job_goes_on_from_an_earlier_one_or_itself_requeued(record, undisturbed, tmp_path, monkeypatch, earlier):
    signal_at(monkeypatch, [9])
    monkeypatch.setenv("SLURM_JOB_ID", earlier)
    with pytest.raises(Stopped):
        train(record, tmp_path / "checkpoint.pt")
    assert (tmp_path / "owner").read_text() == f"{earlier}\n"
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    result = train(record, tmp_path / "checkpoint.pt")
    assert (tmp_path / "owner").read_text() == "12\n"
    assert_same_training((result, tmp_path / "checkpoint.pt"), undisturbed["float32"])


def test_owner_is_gone_with_the_checkpoint_and_unknown_outside_slurm(record, tmp_path, monkeypatch):
    (tmp_path / "owner").write_text("17\n")
    save(record, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["emulator.pt", "history.csv"]
    train(record, tmp_path / "checkpoint.pt")
    assert not (tmp_path / "owner").exists()
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    save(record, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["emulator.pt", "history.csv"]


# --- the processors ---


def test_processors_that_took_turns_are_recorded(record, tmp_path, monkeypatch, caplog):
    settings = TRAINING.model_copy(update={"epochs": 4})
    # Batches of 8: 3 of training, 2 of validation.
    signal_at(monkeypatch, [2, 7, 11])
    for processor in ("one", "one", "two"):
        monkeypatch.setattr(training_state, "name_processor", lambda name=processor: name)
        with pytest.raises(Stopped):
            save(record, tmp_path, settings)
    assert [message for message in caplog.messages if "last bits" in message] == [
        "training goes on on two, after one: its weights may differ in their last bits from those of either alone"
    ]
    monkeypatch.setattr(training_state, "name_processor", lambda: "one")
    content = load_torch(save(record, tmp_path, settings))
    assert content["processors"] == ["one", "two", "one"]


def test_processor_that_trained_nothing_is_not_recorded(record, tmp_path, monkeypatch):
    monkeypatch.setattr(training_state, "name_processor", lambda: "one")
    train(record, tmp_path / "checkpoint.pt")
    monkeypatch.setattr(training_state, "name_processor", lambda: "two")
    assert train(record, tmp_path / "checkpoint.pt").processors == ["one"]


# --- stopping ---


def test_best_epoch_is_kept_and_patience_ends_training(record, tmp_path, monkeypatch):
    fix_validation(monkeypatch, [0.9, 0.5, 0.7, 0.6, 0.1, 0.05])
    kept = []
    original = TrainingState.run_epoch

    def run_epoch(self):
        original(self)
        kept.append(hash_weights(self.network.state_dict()))

    monkeypatch.setattr(TrainingState, "run_epoch", run_epoch)
    settings = SETTINGS.model_copy(update={"epochs": 6, "patience": 2})
    result = train(record, tmp_path / "checkpoint.pt", settings)
    # Epochs 3 and 4 are no better than epoch 2.
    assert result.history["validation_rmse"].tolist() == [0.9, 0.5, 0.7, 0.6]
    assert result.best_epoch == 2
    assert hash_weights(result.weights) == kept[1]
    assert len(set(kept)) == 4


def test_a_tie_keeps_the_earlier_epoch(record, tmp_path, monkeypatch):
    fix_validation(monkeypatch, [0.5, 0.5, 0.5, 0.5])
    assert train(record, tmp_path / "checkpoint.pt").best_epoch == 1


def test_training_learns_the_mean_of_a_constant_target(record, tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 12, "dropout": 0.0, "learning_rate": 1e-2})
    anomaly = torch.full_like(record.anomaly, 0.7)
    history = train(record, tmp_path / "checkpoint.pt", settings, anomaly=anomaly).history
    assert history["training_rmse"].iloc[0] > 0.3
    assert history["training_rmse"].iloc[-1] < 0.15
    assert (history["persistence_rmse"] == 0).all()


def test_months_of_the_test_period_do_not_change_training(record, tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 1})
    split = record.split(settings.lead, SAMPLES)
    anomaly = record.anomaly.clone()
    anomaly[split.validation[-1] + settings.lead :] = 50
    first = train(record, tmp_path / "first.pt", settings)
    second = train(record, tmp_path / "second.pt", settings, anomaly=anomaly)
    assert hash_weights(first.weights) == hash_weights(second.weights)


def test_persistence_is_that_of_the_validation_period(record, tmp_path):
    result = train(record, tmp_path / "checkpoint.pt", SETTINGS.model_copy(update={"epochs": 1}))
    ocean = record.ocean
    split = record.split(2, SAMPLES)
    errors = torch.stack([(record.anomaly[k - 1] - record.anomaly[k + 1])[ocean] for k in split.validation])
    assert result.history["persistence_rmse"][0] == pytest.approx(errors.square().mean().sqrt().item(), rel=1e-6)


def test_validation_rmse_is_that_of_the_kept_weights(record, tmp_path):
    # Ten samples in batches of seven: the short batch must count for less.
    result = train(record, tmp_path / "checkpoint.pt")
    network = DenseNet(NETWORK, HISTORY, (8, 10))
    network.load_state_dict(result.weights)
    network.eval()
    split = record.split(2, SAMPLES)
    with torch.no_grad():
        errors = [
            (network(record.anomaly[k - HISTORY : k][None])[0, 0] - record.anomaly[k + 1])[record.ocean]
            for k in split.validation
        ]
    rmse = torch.stack(errors).double().square().mean().sqrt().item()
    assert result.history["validation_rmse"].min() == pytest.approx(rmse, rel=1e-5)


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ("constant", [1, 1, 1, 1, 1]),
        ("step", [1, 1, 1, 0.99, 0.99]),
        ("cosine", [(1 + np.cos(np.pi * n / 5)) / 2 for n in range(5)]),
    ],
)
def test_learning_rate_by_epoch(record, tmp_path, schedule, rates):
    settings = SETTINGS.model_copy(update={"epochs": 5, "schedule": schedule, "learning_rate": 2e-3})
    history = train(record, tmp_path / "checkpoint.pt", settings).history
    np.testing.assert_allclose(history["learning_rate"], 2e-3 * np.array(rates), rtol=1e-9)


def test_loss_that_is_not_finite_is_an_error(record, tmp_path):
    settings = SETTINGS.model_copy(update={"learning_rate": 1e30})
    message = r"training.learning_rate = 1e\+30: the loss of lead 2 is not finite in epoch 1; lower"
    with pytest.raises(SealiencyError, match=message):
        train(record, tmp_path / "checkpoint.pt", settings)
    # Nothing that a second try would resume from.
    assert not (tmp_path / "checkpoint.pt").exists()


# --- the file ---


def save(record, folder, settings=TRAINING, code="code"):
    train_and_save(record, NETWORK, settings, SAMPLES, code, 1, folder / "emulator.pt", folder / "history.csv")
    return folder / "emulator.pt"


def test_emulator_file_forecasts_as_the_trained_network(record, tmp_path):
    path = save(record, tmp_path)
    expected = train(record, tmp_path / "other.pt", TRAINING)
    content = load_torch(path)
    assert hash_weights(content["weights"]) == hash_weights(expected.weights)
    emulator = load_emulator(path)
    assert emulator.model_sha256 == hash_weights(expected.weights)
    assert (emulator.lead, emulator.seed, emulator.history) == (2, 0, HISTORY)
    assert emulator.prepared_sha256 == record.sha256
    inputs = torch.stack([record.anomaly[k - HISTORY : k] for k in (6, 20, 50)])
    network = DenseNet(NETWORK, HISTORY, (8, 10))
    network.load_state_dict(expected.weights)
    with torch.no_grad():
        one_by_one = torch.cat([network.eval()(x[None])[:, 0] for x in inputs])
    torch.testing.assert_close(emulator.forecast(inputs, batch_size=2), one_by_one, rtol=1e-5, atol=1e-6)
    table = pd.read_csv(tmp_path / "history.csv")
    assert_same_history(table, expected.history.reset_index(drop=True).astype(table.dtypes))
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize("change", ["code", "record", "settings"])
def test_emulator_of_other_code_data_or_settings_starts_afresh(record, tmp_path, monkeypatch, change):
    # A run that was cut after training, before its checkpoint was taken away.
    with monkeypatch.context() as patch:
        patch.setattr(training.Path, "unlink", lambda self, missing_ok=False: None)
        save(record, tmp_path)
    assert (tmp_path / "checkpoint.pt").exists()
    epochs = []
    original = TrainingState.run_epoch
    monkeypatch.setattr(TrainingState, "run_epoch", lambda self: (epochs.append(self.epoch), original(self)))
    save(record, tmp_path)
    assert epochs == []
    with monkeypatch.context() as patch:
        patch.setattr(training.Path, "unlink", lambda self, missing_ok=False: None)
        save(record, tmp_path)
    epochs.clear()
    other = copy.copy(record)
    if change == "record":
        other.sha256 = "0" * 64
    settings = TRAINING.model_copy(update={"weight_decay": 0.5} if change == "settings" else {})
    save(other, tmp_path, settings, code="other" if change == "code" else "code")
    assert epochs == [0, 1, 2]


def test_a_process_is_set_up_to_run_the_network_and_not_to_read_the_file(record, tmp_path, monkeypatch):
    calls = []
    for module in (emulator, training):
        monkeypatch.setattr(module, "set_up_process", calls.append)
    settings = TRAINING.model_copy(update={"epochs": 1})
    path = tmp_path / "emulator.pt"
    train_and_save(record, NETWORK, settings, SAMPLES, "code", 3, path, tmp_path / "history.csv")
    assert calls == [3]
    load_emulator(path)
    assert calls == [3]
    load_emulator(path, 2)
    assert calls == [3, 2]


def test_weights_hash_sees_names_values_types_and_shapes():
    weights = {"a": torch.tensor([1.0, 2.0]), "b": torch.zeros(2, 3)}
    assert hash_weights(dict(reversed(weights.items()))) == hash_weights(weights)
    others = [
        {"a": torch.tensor([1.0, 2.0]), "c": torch.zeros(2, 3)},
        {"a": torch.tensor([1.0, 2.5]), "b": torch.zeros(2, 3)},
        {"a": torch.tensor([1.0, 2.0]), "b": torch.zeros(3, 2)},
        {"a": torch.tensor([1.0, 2.0]).view(torch.int32), "b": torch.zeros(2, 3)},
    ]
    assert len({hash_weights(w) for w in (weights, *others)}) == 5


def test_layout_in_memory_does_not_change_the_hash():
    values = torch.randn(2, 3, 4, 5)
    assert hash_weights({"a": values}) == hash_weights({"a": values.to(memory_format=torch.channels_last)})


# --- the device ---


def test_gpu_that_is_not_there_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == choose_device("cpu").type == "cpu"
    with pytest.raises(SealiencyError, match="device = cuda: PyTorch sees no GPU here"):
        choose_device("cuda")


def test_precision_is_the_one_asked_for():
    cpu = torch.device("cpu")
    assert choose_precision("float32", cpu) == torch.float32
    assert choose_precision("float64", cpu) == torch.float64
    assert choose_precision("bfloat16", cpu) == torch.bfloat16


@pytest.mark.parametrize(("hardware", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_auto_takes_bfloat16_only_where_the_processor_has_it(monkeypatch, hardware, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: hardware, raising=False)
    assert choose_precision("auto", torch.device("cpu")) == expected


def test_split_of_the_fixture_holds_what_the_tests_assume(record):
    split = record.split(2, SAMPLES)
    assert isinstance(split, Split)
    assert (len(split.training), len(split.validation)) == (24, 10)
    assert len(split.test) > 10
