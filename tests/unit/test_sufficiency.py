"""Which months and neighbours suffice."""

import numpy as np
import pytest
import torch
import xarray as xr

from sealiency.config.networks import DILATIONS, DilatedNetwork, parse_network, resolve_network
from sealiency.config.run import parse_configuration
from sealiency.data.samples import SampleWindows
from sealiency.emulators.linear.pixel_ridge import PixelRidge
from sealiency.emulators.linear.window_ridge import WindowRidge, _gather, _solve
from sealiency.emulators.networks.registry import build_network
from sealiency.errors import SealiencyError
from sealiency.experiments.sufficiency import find_fewest, measure_sufficiency
from sealiency.figures.sufficiency import plot_sufficiency
from small_world import HISTORY, LAT, SAMPLES, TRAINING, disturb

GRID = (9, 11)


@pytest.fixture(scope="module")
def windows(record):
    return SampleWindows(record.anomaly, TRAINING.lead, HISTORY)


@pytest.fixture(scope="module")
def split(record):
    return record.split(TRAINING.lead, SAMPLES)


# --- the regression ---


def test_one_cell_and_all_months_are_the_ridge_of_a_pixel(record, windows, split):
    ocean = record.ocean.numpy()
    one = WindowRidge.fit(windows, split.training, ocean, HISTORY, 1)
    ridge = PixelRidge.fit(windows, split.training, ocean)
    assert one.penalty == ridge.penalty
    np.testing.assert_allclose(one.weights, ridge.weights, atol=1e-6)
    np.testing.assert_allclose(one.forecast(split.test), ridge.forecast(split.test), atol=1e-6)


def test_inputs_are_the_last_months_of_the_square_and_zero_beyond_the_edge(record, windows):
    x, y = _gather(windows, range(20, 22), np.array([0, 3]), 2, 3)
    field = record.anomaly.numpy()
    for number, k in enumerate((20, 21)):
        square = np.zeros((2, 3, 3))
        square[:, 1:] = field[k - 2 : k, 0:2, 2:5]
        np.testing.assert_array_equal(x[number], square.ravel())
        assert y[number] == field[k + TRAINING.lead - 1, 0, 3]


def test_both_systems_of_equations_have_one_solution():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(12, 20)), random.normal(size=12)
    wide = _solve(x, y, 0.3)
    np.testing.assert_allclose(np.linalg.solve(x.T @ x + 0.3 * np.eye(20), x.T @ y), wide, atol=1e-10)
    np.testing.assert_allclose(_solve(x.T, random.normal(size=20), 0.3).shape, (12,))


def test_neighbours_help_where_anomalies_drift():
    """A sea whose anomalies move one cell east a month: nine cells of one month know what lead 1 brings, one cell does not."""
    random = np.random.default_rng(0)
    field = np.zeros((300, *GRID), np.float32)
    for month in range(1, 300):
        field[month] = 0.9 * np.roll(field[month - 1], 1, axis=1) + random.normal(size=GRID)
    windows, ocean = SampleWindows(torch.from_numpy(field), 1, 6), np.ones(GRID, bool)
    ocean[:, 0] = False
    observed = windows.targets(range(250, 300)).numpy()[:, ocean]
    errors = {
        (months, side): float(
            (
                (WindowRidge.fit(windows, range(6, 240), ocean, months, side).forecast(range(250, 300)) - observed) ** 2
            ).mean()
        )
        for months, side in ((1, 1), (6, 1), (1, 3))
    }
    assert errors[1, 3] < 1.1
    assert errors[1, 1] > 3
    assert errors[6, 1] > 3


# --- the emulators ---


@pytest.mark.parametrize(("cells", "side"), [(1, 1), (9, 3), (25, 5)])
def test_a_network_sees_so_many_months_and_cells(cells, side):
    settings = DilatedNetwork(kind="dilated", channels=24, whiten=True)
    network = disturb(build_network(resolve_network(settings, 1, seen=(2, cells)), HISTORY, GRID))
    x = torch.randn(1, HISTORY, *GRID, generator=torch.Generator().manual_seed(0)).requires_grad_()
    gradient = torch.autograd.grad(network(x)[0, 0, 4, 5], x)[0][0]
    months, rows, columns = (sorted(set(where.tolist())) for where in gradient.nonzero(as_tuple=True))
    reach = side // 2
    assert months == [HISTORY - 2, HISTORY - 1]
    assert rows == list(range(4 - reach, 5 + reach))
    assert columns == list(range(5 - reach, 6 + reach))
    assert set(DILATIONS) == {1, 9, 25}


@pytest.mark.parametrize("kind", ["densenet", "unet", "dilated"])
def test_every_kind_can_read_fewer_months(kind):
    network = disturb(build_network(parse_network({"kind": kind, "months": 3}), HISTORY, (16, 16)))
    x = torch.randn(1, HISTORY, 16, 16, generator=torch.Generator().manual_seed(0))
    other = x.clone()
    other[:, : HISTORY - 3] += 1
    assert torch.equal(network(x), network(other))
    other[:, -3] += 1
    assert not torch.equal(network(x), network(other))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"network": {"kind": "unet"}}, "network.kind: dilated"),
        ({"network": {"kind": "dilated", "skip": "ridge"}}, "reads others beside them"),
        ({"network": {"kind": "dilated", "skip": "convolution"}}, "reads others beside them"),
        ({"sufficiency": {"months": [1, 40]}, "network": {"kind": "dilated"}}, r"exceeds samples\.history"),
        ({"sufficiency": {"months": [3, 1]}}, "rising order"),
        ({"sufficiency": {"months": [1], "neighbours": []}}, "neighbours is empty"),
        ({"sufficiency": {"months": [1], "neighbours": [4]}}, "neighbours"),
        ({"network": {"kind": "unet", "months": 37}}, r"network\.months \(37\) exceeds"),
    ],
)
def test_tables_that_cannot_be_are_refused(settings, said):
    with pytest.raises(SealiencyError, match=said):
        parse_configuration({"sufficiency": {"months": [1, 3]}, **settings}, "mine.yaml")


# --- the table ---


def _score(rmse):
    values = np.full((2, 1), rmse)
    return xr.Dataset(
        {"rmse_mean": (("period", "predictor"), values)},
        coords={"period": ["validation", "test"], "predictor": ["emulator"]},
        attrs={"seed": 0},
    )


@pytest.fixture(scope="module")
def measured(record, split):
    skill = {(months, cells): [_score(0.1 * months + 0.01 * cells)] for months in (1, 3) for cells in (1, 9)}
    return measure_sufficiency(record, split, TRAINING.lead, HISTORY, [1, 3], [1, 9], skill)


def test_the_table_by_hand(record, windows, split, measured):
    ocean = record.ocean.numpy()
    area = np.cos(np.deg2rad(LAT))[:, None].repeat(ocean.shape[1], 1)[ocean]
    model = WindowRidge.fit(windows, split.training, ocean, 3, 3)
    errors = model.forecast(split.validation) - windows.targets(split.validation).numpy()[:, ocean]
    expected = np.sqrt(((errors**2).mean(0) * area).sum() / area.sum())
    assert float(measured["ridge"].sel(period="validation", months=3, neighbours=9)) == pytest.approx(expected)
    assert float(measured["emulator"].sel(seed=0, period="test", months=3, neighbours=9)) == pytest.approx(0.39)


def test_the_fewest_are_within_a_hundredth_of_the_least():
    rmse = xr.DataArray(
        [[0.5, 0.45, 0.42], [0.44, 0.405, 0.402], [0.43, 0.404, 0.401]],
        coords={"months": [1, 12, 36], "neighbours": [1, 9, 25]},
        dims=("months", "neighbours"),
    )
    assert find_fewest(rmse) == (12, 9)
    assert find_fewest(rmse + 100) == (1, 1)


def test_the_figure_holds_every_number_and_frames_the_fewest(measured):
    figure = plot_sufficiency([measured, measured.assign_attrs(lead=6)])
    panels = figure.get_axes()
    assert len(panels) == 4
    (panel,) = [axes for axes in panels if axes.get_title().startswith("Emulator, lead 6")]
    assert [text.get_text() for text in panel.texts] == ["0.110", "0.190", "0.310", "0.390"]
    (frame,) = [patch for patch in panel.patches if patch.get_gid() == "fewest"]
    assert (frame.get_x(), frame.get_y()) == (-0.5, -0.5)
