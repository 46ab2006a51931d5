import copy
import itertools

import numpy as np
import pytest
import torch

from sealiency.attribution.methods import METHODS
from sealiency.attribution.speed import Grid
from sealiency.config.attribution import Ablation, Attribution, Instance, Pixel
from sealiency.config.data import Region
from sealiency.config.findings import Findings
from sealiency.data.prepare import PreparedRecord
from sealiency.emulators.emulator import Emulator
from sealiency.emulators.networks.densenet import DenseNet
from sealiency.errors import SealiencyError
from sealiency.experiments.ablation import ablate_region
from sealiency.experiments.instance import choose_validation_sample, explain_instance
from sealiency.experiments.plan import plan_run
from small_world import HISTORY, LAT, LON, NETWORK, SAMPLES, TRAINING, disturb, make_sst, prepare_sst

BOX = Region(south=42, north=44, west=-46, east=-43)
COMPARED = Pixel(name="coast", row=1, column=2)
LEAD = TRAINING.lead


@pytest.fixture
def split(record):
    return record.split(LEAD, SAMPLES)


def in_box() -> np.ndarray:
    return ((LAT > 42) & (LAT < 44))[:, None] & ((LON > -46) & (LON < -43))[None]


# --- ablation ---


@pytest.mark.parametrize("months", ["all", [-6], [-1, -3]])
def test_box_is_zero_in_its_months_and_nowhere_else(emulator, record, split, months):
    ablated = ablate_region(emulator, record, split, Ablation(region=BOX, months=months, sample=2))
    k = split.validation[2]
    expected = record.anomaly[k - HISTORY : k].numpy().copy()
    for lag in range(-HISTORY, 0):
        if months == "all" or lag in months:
            expected[lag][in_box()] = 0
    np.testing.assert_array_equal(ablated["ablated_input"].values, expected)
    np.testing.assert_array_equal(ablated["ablated"].values.astype(bool), in_box())
    assert ablated["lag"].values.tolist() == list(range(-HISTORY, 0))
    assert ablated.attrs["target_month"] == record.months[k + LEAD - 1]


def test_differences_are_those_of_the_forecasts(emulator, record, split):
    ablated = ablate_region(emulator, record, split, Ablation(region=BOX, sample=1))
    differences = []
    for k in split.validation:
        x = record.anomaly[k - HISTORY : k].clone()
        before = emulator.forecast(x[None])[0]
        x[:, torch.from_numpy(in_box())] = 0
        differences.append((emulator.forecast(x[None])[0] - before).numpy())
    np.testing.assert_allclose(ablated["difference"].values, differences[1], atol=1e-6)
    mean = np.abs(differences).mean(0)
    np.testing.assert_allclose(ablated["mean_absolute_difference"].values, mean, atol=1e-6)
    assert mean.max() > 1e-3
    np.testing.assert_allclose(
        ablated["ablated_forecast"].values - ablated["forecast"].values, ablated["difference"].values, atol=1e-7
    )


def test_ablation_does_not_reach_beyond_the_receptive_field(tmp_path):
    # 4 rows suffice; 47 columns is the furthest that Table 1's strides and kernels carry.
    lat, lon = LAT[:4], np.arange(-99.5, 10)
    sst = make_sst(months=60, lat=lat, lon=lon, land=())
    region = Region(south=40, north=44, west=-100, east=10)
    record = PreparedRecord(prepare_sst(sst, tmp_path, region=region, training=10))
    network = disturb(DenseNet(NETWORK.model_copy(update={"dense_layers": (3, 6, 3)}), HISTORY, (4, 110)))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            # Keep every channel awake, so that the whole field is reached.
            module.weight.data.abs_()
            module.bias.data.fill_(1)
    emulator = Emulator(network, record.ocean, LEAD, 0, HISTORY, record.training_samples, record.sha256, "sha")
    split = record.split(LEAD, SAMPLES.model_copy(update={"training": 10, "validation": 2}))
    box = Region(south=40, north=44, west=-100, east=-95)
    difference = ablate_region(emulator, record, split, Ablation(region=box))["difference"].values
    assert (difference[:, :5] != 0).any()
    assert (difference[:, 5 + 47 :] == 0).all()
    # It does reach most of the way, so the zeros are not those of a dead network.
    assert (difference[:, 5 + 35 : 5 + 47] != 0).any()


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (Region(south=50, north=55, west=-46, east=-43), "ablation.region"),
        (Region(south=42, north=44, west=0, east=10), "ablation.region"),
        (Region(south=46, north=48, west=-42, east=-40), "ablation.region .* holds no ocean cell"),
    ],
    ids=["north of the grid", "east of the grid", "land"],
)
def test_box_without_sea_is_refused(emulator, record, split, region, message):
    land = copy.copy(record)
    land.ocean = record.ocean.clone()
    land.ocean[6:, 8:] = False
    with pytest.raises(SealiencyError, match=message) as caught:
        ablate_region(emulator, land, split, Ablation(region=region))
    assert "data.region asks" not in str(caught.value)


def test_box_of_one_cell_is_ablated(emulator, record, split):
    region = Region(south=43, north=44, west=-45, east=-44)
    ablated = ablate_region(emulator, record, split, Ablation(region=region))
    assert np.argwhere(ablated["ablated"].values).tolist() == [[3, 5]]


def test_plan_refuses_a_box_outside_the_region_before_any_work(record):
    with pytest.raises(SealiencyError, match=r"ablation\.region"):
        plan_run(
            record,
            leads=[LEAD],
            samples=SAMPLES,
            attribution=Attribution(pixels=[Pixel(name="p", row=4, column=4)], pixel_blocks=1, sample_chunks=1),
            instance=Instance(compared=COMPARED),
            ablation=Ablation(region=Region(south=50, north=55, west=-46, east=-43)),
            findings=Findings(),
            planned=Grid(8, 10, 77),
        )


# --- one forecast ---


@pytest.mark.parametrize("key", ["instance.sample", "ablation.sample"])
def test_sample_outside_the_validation_period_is_refused(split, key):
    assert choose_validation_sample(split, 9, key) == split.validation[9]
    with pytest.raises(SealiencyError, match=rf"{key} = 10: the validation period has 10 samples, counted from 0"):
        choose_validation_sample(split, 10, key)


def test_analyses_refuse_a_sample_that_does_not_exist(emulator, record, split):
    with pytest.raises(SealiencyError, match=r"ablation\.sample = 99"):
        ablate_region(emulator, record, split, Ablation(region=BOX, sample=99))
    with pytest.raises(SealiencyError, match=r"instance\.sample = 99"):
        explain_instance(emulator, record, split, Instance(sample=99), Attribution())


@pytest.fixture
def instance(emulator, record, split):
    settings = Instance(sample=3, compared=COMPARED, methods=list(METHODS))
    attribution = Attribution(pixels=[COMPARED], device="cpu", precision="float64", integration_steps=32)
    return explain_instance(emulator, record, split, settings, attribution)


def test_fields_are_those_of_the_sample(instance, emulator_path, emulator, record, split):
    k = split.validation[3]
    np.testing.assert_array_equal(instance["input"].values, record.anomaly[k - HISTORY : k].numpy())
    np.testing.assert_array_equal(instance["target"].values, record.anomaly[k + LEAD - 1].numpy())
    assert instance.attrs["sample"] == k
    assert instance.attrs["target_month"] == record.months[k + LEAD - 1]


def test_heatmaps_sum_to_the_change_of_their_own_pixel(instance, emulator, record, split):
    network = emulator.network.double()
    x = torch.as_tensor(instance["input"].values)[None].double()
    with torch.no_grad():
        change = (network(x) - network(0 * x))[0, 0].numpy()
    assert instance["place"].values.tolist() == ["A", "B", "C"]
    for place in range(3):
        row = LAT.tolist().index(instance["place_lat"].values[place])
        column = LON.tolist().index(instance["place_lon"].values[place])
        total = instance["heatmap"].values[place].astype(np.float64).sum()
        assert total == pytest.approx(change[row, column], abs=1e-5)
        assert bool(record.ocean[row, column]) == (place > 0)
    totals = dict(zip(METHODS, instance["method_heatmap"].values.astype(np.float64).sum((1, 2, 3)), strict=True))
    assert totals["deeplift"] == pytest.approx(change[1, 2], abs=1e-5)
    assert totals["deeplift_shap"] == pytest.approx(change[1, 2], abs=1e-5)
    size = float(np.abs(instance["method_heatmap"].sel(method="integrated_gradients")).sum())
    assert totals["integrated_gradients"] == pytest.approx(change[1, 2], abs=0.01 * size)


def test_methods_are_not_mixed_up(instance):
    maps = dict(zip(instance["method"].values.tolist(), instance["method_heatmap"].values, strict=True))
    np.testing.assert_allclose(maps["deeplift"], maps["deeplift_shap"], atol=1e-6)
    for one, other in itertools.combinations(("deeplift", "integrated_gradients", "guided_backprop"), 2):
        assert np.abs(maps[one] - maps[other]).max() > 1e-4
