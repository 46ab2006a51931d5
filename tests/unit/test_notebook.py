"""The public face: what a notebook sees."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sealiency
from sealiency.attribution.methods import METHODS
from sealiency.errors import SealiencyError

TUTORIAL = Path(__file__).parents[2] / "docs" / "notebook.md"


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 1, 3, padding=1)).double().eval()


def draw(samples: int) -> torch.Tensor:
    return torch.randn(samples, 3, 8, 9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_the_tutorial_on_an_own_network_runs():
    blocks = re.findall(r"```python\n(.*?)```", TUTORIAL.read_text(), re.S)
    names: dict = {}
    exec(blocks[-1], names)
    assert names["heatmaps"].sizes == {"sample": 4, "pixel": 2, "lag": 36, "lat": 20, "lon": 30}
    assert names["heatmaps"].dtype == np.float32


def test_importing_the_package_imports_nothing_heavy():
    code = "import sealiency, sys; print(sorted({'torch', 'xarray', 'numpy', 'captum'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
    with pytest.raises(AttributeError, match="no attribute 'explain'"):
        sealiency.explain  # noqa: B018


def test_attributions_are_whole_fields_that_sum_to_the_change(network):
    inputs, pixels = draw(4), [(0, 0), (7, 8), (3, 4)]
    for baselines in (None, draw(5)[4], draw(5)[4:]):
        found = sealiency.attribute(network, inputs.numpy(), pixels, baselines=baselines)
        assert found.dims == ("sample", "pixel", "lag", "lat", "lon")
        assert found.shape == (4, 3, 3, 8, 9)
        assert found.dtype == np.float64
        assert found["lag"].values.tolist() == [-3, -2, -1]
        zero = torch.zeros(1, 3, 8, 9).double() if baselines is None else baselines.reshape(1, 3, 8, 9)
        with torch.no_grad():
            change = (network(inputs) - network(zero))[:, 0]
        for at, (row, column) in enumerate(pixels):
            assert (found["row"][at], found["column"][at]) == (row, column)
            expected = change[:, row, column].numpy()
            np.testing.assert_allclose(found[:, at].sum(("lag", "lat", "lon")), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_serves_and_says_its_name(network, method):
    found = sealiency.attribute(network.float(), draw(2).float(), [(3, 4)], method)
    assert found.attrs["method"] == method
    assert found.dtype == np.float32
    assert found.any()


def test_several_baselines_are_averaged_over(network):
    baselines = draw(7)[4:]
    found = sealiency.attribute(network, draw(2), [(3, 4)], "deeplift_shap", baselines)
    each = [sealiency.attribute(network, draw(2), [(3, 4)], baselines=one) for one in baselines]
    np.testing.assert_allclose(found, sum(each) / 3, rtol=1e-10, atol=1e-14)
    with pytest.raises(SealiencyError, match="3 baselines: deeplift takes one, deeplift_shap takes several"):
        sealiency.attribute(network, draw(2), [(3, 4)], baselines=baselines)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"method": "lime"}, "method 'lime' is not one of deeplift"),
        ({"inputs": draw(1).float()}, r"inputs are torch\.float32, the network is torch\.float64"),
        ({"inputs": draw(1)[0]}, r"inputs of shape \(3, 8, 9\): \(sample, lag, row, column\) is wanted"),
        ({"pixels": [(8, 0)]}, r"pixel \(8, 0\) lies outside the grid of 8 x 9"),
        ({"baselines": draw(1)[..., :4]}, r"baselines of shape \(1, 3, 8, 4\) do not fit inputs of \(1, 3, 8, 9\)"),
    ],
)
def test_what_does_not_fit_is_refused(network, given, words):
    with pytest.raises(SealiencyError, match=words):
        sealiency.attribute(network, **({"inputs": draw(1), "pixels": [(0, 0)]} | given))


def test_a_forward_pass_that_is_not_its_graph_breaks_completeness(network):
    network[1].register_forward_hook(
        lambda layer, given, out: out if torch.compiler.is_exporting() else out + 0.1 * out**2
    )
    with pytest.raises(SealiencyError, match=r"sample 0, pixel \(row 3, column 4\): completeness error"):
        sealiency.attribute(network, draw(1), [(3, 4)])


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(SealiencyError, match=r"holds no summary\.json, so no finished run"):
        sealiency.open_run(tmp_path)
