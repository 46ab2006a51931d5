import copy

import numpy as np
import pandas as pd
import pytest
import torch

from sealiency.data.samples import Split
from sealiency.errors import SealiencyError
from sealiency.models import training
from sealiency.models.densenet import DenseNet
from sealiency.models.devices import choose_device, choose_precision
from sealiency.models.emulator import hash_weights, load_emulator, load_torch, save_torch
from sealiency.models.training import masked_mse, train_and_save, train_emulator
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
    monkeypatch.setattr(training._TrainingState, "_validate", lambda self: next(given))


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


# --- resuming ---


@pytest.mark.parametrize("epochs_done", [1, 3])
def test_resumed_training_ends_at_the_same_weights(record, tmp_path, monkeypatch, epochs_done):
    whole = train(record, tmp_path / "whole.pt")
    original = training._TrainingState.run_epoch

    def run_epoch(self):
        if self.epoch == epochs_done:
            raise KeyboardInterrupt
        original(self)

    with monkeypatch.context() as patch:
        patch.setattr(training._TrainingState, "run_epoch", run_epoch)
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
    original = training._TrainingState._forecast
    calls = iter(range(100))

    def forecast(self, samples):
        # An epoch is 4 batches of training and 2 of validation; this is in the third epoch.
        if next(calls) == 14:
            raise KeyboardInterrupt
        return original(self, samples)

    with monkeypatch.context() as patch:
        patch.setattr(training._TrainingState, "_forecast", forecast)
        with pytest.raises(KeyboardInterrupt):
            train(record, tmp_path / "cut.pt")
    assert load_torch(tmp_path / "cut.pt")["epoch"] == 2
    resumed = train(record, tmp_path / "cut.pt")
    assert hash_weights(resumed.weights) == hash_weights(whole.weights)
    assert_same_history(resumed.history, whole.history)


def test_finished_training_is_not_repeated(record, tmp_path, monkeypatch):
    first = train(record, tmp_path / "checkpoint.pt")
    monkeypatch.setattr(training._TrainingState, "run_epoch", lambda self: pytest.fail("an epoch was run"))
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


def test_seed_decides_the_weights(record, tmp_path):
    settings = SETTINGS.model_copy(update={"epochs": 1})
    hashes = [
        hash_weights(train(record, tmp_path / f"{n}.pt", settings.model_copy(update={"seed": seed})).weights)
        for n, seed in enumerate((0, 0, 1))
    ]
    assert hashes[0] == hashes[1] != hashes[2]


# --- stopping ---


def test_best_epoch_is_kept_and_patience_ends_training(record, tmp_path, monkeypatch):
    fix_validation(monkeypatch, [0.9, 0.5, 0.7, 0.6, 0.1, 0.05])
    kept = []
    original = training._TrainingState.run_epoch

    def run_epoch(self):
        original(self)
        kept.append(hash_weights(self.network.state_dict()))

    monkeypatch.setattr(training._TrainingState, "run_epoch", run_epoch)
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
    original = training._TrainingState.run_epoch
    monkeypatch.setattr(training._TrainingState, "run_epoch", lambda self: (epochs.append(self.epoch), original(self)))
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
