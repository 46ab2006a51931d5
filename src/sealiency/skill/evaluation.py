"""Skill of an emulator beside its linear rivals."""

from collections.abc import Callable

import numpy as np
import xarray as xr

from sealiency.conventions import LAG
from sealiency.data.prepare import PreparedRecord
from sealiency.data.samples import SampleWindows, Split
from sealiency.emulators.emulator import Emulator
from sealiency.emulators.linear.registry import RIVALS
from sealiency.skill import BOUND

SAMPLES_AT_ONCE = 64


def evaluate_emulator(
    emulator: Emulator,
    record: PreparedRecord,
    split: Split,
    forecast_best: Callable[[range], np.ndarray] | None = None,
) -> xr.Dataset:
    """Compare the emulator's forecasts with those of its linear rivals, all fitted on the samples that it was trained on.

    Parameters
    ----------
    emulator
        Trained emulator of one lead.
    record
        Prepared record.
    split
        Samples of each period of this lead; the training samples are the emulator's own.
    forecast_best
        Function that returns the best possible forecasts of samples, standardised units, float64 of shape (sample, cell); None
        where the world that made the record is not known.

    Returns
    -------
    xarray.Dataset
        The predictors are `emulator`, the rivals, and `bound` where it is known. `rmse` and `acc` (period, predictor, lat,
        lon), over the samples of a period, NaN on land; `rmse_mean` and
        `acc_mean` (period, predictor), over samples and ocean cells weighted by cell area; the training means
        `training_mean_target`, `training_mean_forecast` (lat, lon) and `training_mean_input` (lag, lat, lon). RMSE and
        means are in standardised units, float32. The attribute `beats_persistence` is 1 if the emulator's area-mean
        RMSE is below that of persistence in every period, else 0: weights were chosen on validation, and a lead that
        loses on test has no skill to explain either.

    Notes
    -----
    The anomaly correlation is not centred: sum(f o) / sqrt(sum(f^2) sum(o^2)) of anomalies from the climatology of the
    training months, as the World Meteorological Organization's standard verification defines it.
    """
    emulator.check_record(record.sha256)
    windows = SampleWindows(record.anomaly, emulator.lead, emulator.history)
    ocean = record.ocean.numpy()
    area = record.area
    predictors: dict[str, Callable[[range], np.ndarray]] = {
        "emulator": lambda samples: _forecast(emulator, windows, samples)[:, ocean]
    }
    for name, rival in RIVALS.items():
        predictors[name] = rival.fit(windows, emulator.training_samples, ocean, area).forecast
    if forecast_best:
        predictors[BOUND] = forecast_best
    periods = {"validation": split.validation, "test": split.test}
    periods = {name: samples for name, samples in periods.items() if len(samples)}
    maps = {
        score: np.full((len(periods), len(predictors), *ocean.shape), np.nan, np.float32) for score in ("rmse", "acc")
    }
    means = {score: np.zeros((len(periods), len(predictors))) for score in ("rmse", "acc")}
    for at_period, samples in enumerate(periods.values()):
        observed = windows.targets(samples).numpy()[:, ocean].astype(np.float64)
        for at_predictor, predict in enumerate(predictors.values()):
            forecast = predict(samples)
            products = {
                "error": ((forecast - observed) ** 2).mean(0),
                "cross": (forecast * observed).mean(0),
                "forecast": (forecast**2).mean(0),
                "observed": (observed**2).mean(0),
            }
            whole = {key: np.average(value, weights=area) for key, value in products.items()}
            for key, scores in (("pixel", products), ("mean", whole)):
                rmse = np.sqrt(scores["error"])
                power = np.sqrt(scores["forecast"] * scores["observed"])
                acc = np.divide(scores["cross"], power, out=np.zeros_like(power), where=power > 0)
                if key == "pixel":
                    maps["rmse"][at_period, at_predictor, ocean] = rmse
                    maps["acc"][at_period, at_predictor, ocean] = acc
                else:
                    means["rmse"][at_period, at_predictor] = rmse
                    means["acc"][at_period, at_predictor] = acc
    skill = _build_dataset(record, emulator, list(periods), list(predictors), maps, means)
    for name, values in _training_means(emulator, windows).items():
        skill[name] = values
    return skill


def _training_means(emulator: Emulator, windows: SampleWindows) -> dict[str, tuple]:
    samples = emulator.training_samples
    inputs = np.zeros((emulator.history, *emulator.ocean.shape))
    forecast, target = np.zeros(emulator.ocean.shape), np.zeros(emulator.ocean.shape)
    for start in range(samples.start, samples.stop, SAMPLES_AT_ONCE):
        batch = range(start, min(start + SAMPLES_AT_ONCE, samples.stop))
        values = windows.inputs(batch)
        inputs += values.double().sum(0).numpy()
        forecast += emulator.forecast(values).double().sum(0).numpy()
        target += windows.targets(batch).double().sum(0).numpy()
    count = len(samples)

    def describe(what: str) -> dict[str, str]:
        return {"long_name": f"mean over training samples of the {what}", "units": "1"}

    return {
        "training_mean_target": (("lat", "lon"), (target / count).astype(np.float32), describe("target anomaly")),
        "training_mean_forecast": (
            ("lat", "lon"),
            (forecast / count).astype(np.float32),
            describe("forecast anomaly, not masked"),
        ),
        "training_mean_input": (("lag", "lat", "lon"), (inputs / count).astype(np.float32), describe("input anomaly")),
    }


def _forecast(emulator: Emulator, windows: SampleWindows, samples: range) -> np.ndarray:
    batches = [
        emulator.forecast(windows.inputs(range(start, min(start + SAMPLES_AT_ONCE, samples.stop)))).numpy()
        for start in range(samples.start, samples.stop, SAMPLES_AT_ONCE)
    ]
    return np.concatenate(batches).astype(np.float64)


def _build_dataset(
    record: PreparedRecord,
    emulator: Emulator,
    periods: list[str],
    predictors: list[str],
    maps: dict[str, np.ndarray],
    means: dict[str, np.ndarray],
) -> xr.Dataset:
    statistics = record.statistics
    lags = np.arange(-emulator.history, 0, dtype=np.int32)
    skill = xr.Dataset(
        coords={
            "period": ("period", periods, {"long_name": "period of the samples"}),
            "predictor": ("predictor", predictors, {"long_name": "predictor"}),
            "lag": ("lag", lags, LAG),
            "lat": statistics["lat"],
            "lon": statistics["lon"],
        }
    )
    long_names = {"rmse": "root mean squared error", "acc": "anomaly correlation, not centred"}
    for score, long_name in long_names.items():
        skill[score] = (
            ("period", "predictor", "lat", "lon"),
            maps[score],
            {"long_name": f"{long_name} over samples", "units": "1"},
        )
        skill[f"{score}_mean"] = (
            ("period", "predictor"),
            means[score],
            {"long_name": f"{long_name} over samples and ocean cells, weighted by area", "units": "1"},
        )
    skill["ocean"] = statistics["ocean"]
    skill["scale"] = statistics["scale"]
    rmse = skill["rmse_mean"]
    beats = bool((rmse.sel(predictor="emulator") < rmse.sel(predictor="persistence")).all())
    skill.attrs = {
        "title": f"Skill of the lead-{emulator.lead} emulator and of simpler predictors",
        "lead": emulator.lead,
        "beats_persistence": int(beats),
        "model_sha256": emulator.model_sha256,
    }
    return skill
