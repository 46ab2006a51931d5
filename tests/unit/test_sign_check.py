"""The sign check on networks whose answer is known, and on an emulator by hand."""

import numpy as np
import pytest
import torch

from sealiency.attribution.attributor import Tile
from sealiency.attribution.explanation import make_attributor
from sealiency.attribution.graph.windows import Span, Window
from sealiency.config.attribution import Attribution, Pixel, SignCheck, select_listed
from sealiency.errors import SealiencyError
from sealiency.experiments.sign_check import COMBINATIONS, check_signs, choose_run, measure_agreement, remove_inputs
from small_world import HISTORY, LAT, LON, SAMPLES, TRAINING

PIXELS = [Pixel(name="a", row=3, column=4), Pixel(name="b", row=6, column=2)]
SHAPE = (3, 5, 6)
WINDOW = Window(Span(1, 5), Span(0, 4))


class Linear:
    """A linear network whose outputs see rows 1 to 4 and columns 0 to 3, and attributions w x, times a factor."""

    baseline_name, precision, mend = "zero", "float64", "mend it"

    def __init__(self, factor: float = 1.0, tolerance: float | None = None) -> None:
        self.factor, self.tolerance = factor, tolerance
        self.weights = torch.zeros(SHAPE[1] * SHAPE[2], *SHAPE, dtype=torch.float64)
        random = torch.randn(len(self.weights), SHAPE[0], 4, 4, generator=torch.Generator().manual_seed(0))
        WINDOW.cut(self.weights)[:] = random

    def output_difference(self, inputs):
        return inputs.double().flatten(1) @ self.weights.flatten(1).T

    def tiles(self, inputs, pixels):
        # Several samples and pixels a tile, in no order of the pixels.
        for group in ([2, 0], [1]):
            for samples in (slice(0, 5), slice(5, len(inputs))):
                weights = self.weights[[pixels[at] for at in group]]
                values = self.factor * inputs[samples, None].double() * weights
                yield Tile(samples, group, WINDOW, WINDOW.cut(values))


def make_inputs(samples: int = 12) -> torch.Tensor:
    return torch.randn(samples, *SHAPE, generator=torch.Generator().manual_seed(1))


def remove(attributor: Linear, inputs: torch.Tensor, pixels=(7, 20, 11)) -> tuple[np.ndarray, np.ndarray]:
    return remove_inputs(attributor, inputs, pixels, range(100, 100 + len(inputs)), ["p"] * len(pixels), 1)


# --- networks whose answer is known ---


def test_true_attributions_of_a_linear_network_always_agree():
    attributor, inputs = Linear(), make_inputs()
    actual, predicted = remove(attributor, inputs)
    fraction, low, high = measure_agreement(actual, block=3)
    assert (fraction == 1).all()
    assert (low == 1).all()
    assert (high == 1).all()
    np.testing.assert_allclose(actual, predicted, atol=1e-12)
    # By hand, pixel 20 of sample 9.
    x, a = inputs[9].double(), inputs[9].double() * attributor.weights[20]
    for number, (sign, way) in enumerate(COMBINATIONS.values()):
        expected = -a[(x.sign() == sign) & (a.sign() == way)].sum()
        assert predicted[number, 1, 9] == pytest.approx(float(expected))
        assert way * expected < 0


def test_attributions_of_the_wrong_sign_never_agree():
    actual, predicted = remove(Linear(factor=-1), make_inputs())
    fraction, low, high = measure_agreement(actual, block=3)
    assert (fraction == 0).all()
    assert (low == 0).all()
    assert (high == 0).all()
    np.testing.assert_allclose(actual, -predicted, atol=1e-12)


def test_a_combination_without_inputs_is_not_tested():
    inputs = make_inputs()
    inputs[:4] = inputs[:4].abs()
    actual, predicted = remove(Linear(), inputs)
    negative = [sign < 0 for sign, _ in COMBINATIONS.values()]
    for values in (actual, predicted):
        np.testing.assert_array_equal(np.isnan(values[negative]).all((0, 1)), np.arange(12) < 4)
        assert np.isfinite(values[~np.array(negative)]).all()
    assert (measure_agreement(actual, block=3)[0] == 1).all()
    actual[0] = np.nan
    assert all(np.isnan(values[0]).all() for values in measure_agreement(actual, block=3))


def test_incomplete_attributions_are_refused():
    remove(Linear(tolerance=1e-12), make_inputs())
    with pytest.raises(SealiencyError, match=r"sample 10\d, pixel p, lead 1: completeness error .* mend it"):
        remove(Linear(factor=1.01, tolerance=1e-12), make_inputs())


def test_the_interval_holds_the_fraction_and_an_output_that_rests_does_not_agree():
    changes = np.where(np.arange(40) % 4 == 0, 0.0, -1.0)
    actual = np.broadcast_to(changes, (4, 1, 40))
    fraction, low, high = measure_agreement(actual, block=2)
    assert fraction[:, 0].tolist() == [0.75, 0.75, 0.0, 0.0]
    assert (low[:2] < 0.75).all()
    assert (high[:2] > 0.75).all()


# --- an emulator ---


def settings(**changes) -> Attribution:
    return Attribution(pixels=PIXELS, device="cpu", precision="float64", **changes)


def test_inputs_of_an_emulator_are_removed_as_by_hand(emulator, record):
    split = record.split(TRAINING.lead, SAMPLES)
    signs = check_signs(emulator, record, split, SignCheck(samples=4), settings(bootstrap_block=32))
    assert signs["sample"].values.tolist() == [split.validation[at] for at in (0, 3, 6, 9)]
    assert signs["pixel"].values.tolist() == ["a", "b"]
    assert signs.attrs["bootstrap_block"] == 1
    k, at = split.validation[6], 2
    x = record.anomaly[k - HISTORY : k]
    attributor = make_attributor(emulator, record, settings(), "deeplift")
    flat = 6 * LON.size + 2
    (tile,) = attributor.tiles(x[None], [flat])
    a = torch.zeros(HISTORY, LAT.size, LON.size, dtype=torch.float64)
    tile.window.cut(a)[:] = tile.attributions[0, 0]
    network = emulator.network.double()
    with torch.no_grad():
        before = network(x[None].double())[0, 0, 6, 2]
        for name, (sign, way) in COMBINATIONS.items():
            chosen = (x.sign() == sign) & (a.sign() == way)
            after = network(torch.where(chosen, 0, x.double())[None])[0, 0, 6, 2]
            found = signs.sel(combination=name, pixel="b").isel(sample=at)
            assert float(found["actual_change"]) == pytest.approx(float(after - before), abs=1e-12)
            assert float(found["predicted_change"]) == pytest.approx(-float(a[chosen].sum()), abs=1e-12)
    whole = signs["predicted_change"].sum("combination").sel(pixel="b").isel(sample=at)
    assert float(whole) == pytest.approx(-float(a.sum()), abs=1e-12)
    np.testing.assert_allclose(signs["mean_actual_change"], signs["actual_change"].mean("sample"))
    assert (signs["tested"] == 4).all()


def test_all_samples_are_tested_where_there_are_fewer_and_the_baseline_is_zero(emulator, record):
    split = record.split(TRAINING.lead, SAMPLES)
    asked = settings(method="deeplift_shap", baseline_samples=5, bootstrap_block=2)
    signs = check_signs(emulator, record, split, SignCheck(), asked)
    assert signs["sample"].values.tolist() == list(split.validation)
    assert signs.attrs["baseline"] == "zero"
    # Ten samples of consecutive months share their input, but an eighth of ten is one.
    assert signs.attrs["bootstrap_block"] == 1


@pytest.mark.parametrize(
    ("samples", "months", "run"),
    [
        (range(80), 6, 6),
        (range(80), 48, 10),
        (range(0, 800, 10), 48, 5),
        (range(0, 8000, 100), 48, 1),
        (range(4), 9, 1),
    ],
)
def test_runs_of_the_bootstrap_are_as_long_as_inputs_overlap(samples, months, run):
    assert choose_run(samples, months) == run


def test_of_all_pixels_the_compared_one_is_checked():
    compared = Pixel(name="coast", row=1, column=2)
    assert select_listed(Attribution(pixels="all"), compared).pixels == [compared]
    assert select_listed(settings(), compared).pixels == PIXELS
