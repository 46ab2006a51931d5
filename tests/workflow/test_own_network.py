"""The user's own emulator, explained as it is: from survey to report, by the same rules."""

import json
from dataclasses import replace

import pytest
import torch

from small_run import Workflow, merge

pytestmark = pytest.mark.workflow

# As a user would write it: a network of another kind, with an activation of another kind.
CODE = """
from torch import nn


class Emulator(nn.Module):
    def __init__(self, history, width=6):
        super().__init__()
        self.enter = nn.Conv2d(history, width, 3, padding=1)
        self.act = nn.GELU()
        self.leave = nn.Conv2d(width, 1, 5, padding=2)

    def forward(self, x):
        return 0.9 * x[:, -1:] + self.leave(self.act(self.enter(x)))


def build(history, grid):
    return Emulator(history)
"""
OWN = {
    "leads": [6],
    "network": {"kind": "own", "build": "my_sea.emulator:build", "weights": "weights/lead6.pt"},
    "training": "none",
    "instance": {"methods": ["deeplift", "integrated_gradients"]},
}


@pytest.fixture(scope="module")
def own(sst_files, tmp_path_factory) -> Workflow:
    """Return a run of the user's own emulator, from the files to the report."""
    from small_run import SETTINGS, link_years

    folder = tmp_path_factory.mktemp("own")
    settings = {key: value for key, value in SETTINGS.items() if key not in ("network", "training")}
    files = {"data": {"files": {"paths": [link_years(sst_files, folder / "sst")]}}}
    workflow = Workflow(folder / "work", merge(merge(settings, files), OWN))
    package = workflow.folder / "my_sea"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "emulator.py").write_text(CODE)
    names: dict = {}
    exec(CODE, names)
    torch.manual_seed(1)
    (workflow.folder / "weights").mkdir()
    torch.save(names["build"](36, (25, 35)).state_dict(), workflow.folder / "weights" / "lead6.pt")
    answer = workflow.run()
    assert answer.returncode == 0, answer.stdout
    return workflow


def test_it_is_explained_from_survey_to_report(own):
    summary = json.loads((own.results / "summary.json").read_text())
    assert (own.results / "report.html").is_file()
    assert summary["worst_completeness_error"]["6"] <= 1e-6
    findings = json.loads((own.results / "findings.json").read_text())
    assert {claim["claim"] for claim in findings["claims"]} >= {"locality", "place"}
    content = torch.load(own.results / "train_emulator/lead6_seed0/emulator.pt", weights_only=True)
    given = torch.load(own.folder / "weights" / "lead6.pt", weights_only=True)
    assert all(torch.equal(content["weights"][f"network.{name}"], values) for name, values in given.items())
    assert content["best_epoch"] == 0
    # Random weights are its control; what would have to be trained is left out.
    assert {path.name for path in (own.results / "train_emulator").iterdir()} == {"lead6_seed0", "random_lead6_seed0"}


def test_what_depends_on_its_code_and_weights_runs_again(own):
    assert own.planned() == set()
    code, weights = own.folder / "my_sea" / "emulator.py", own.folder / "weights" / "lead6.pt"
    training = "training the emulator of lead 6, seed 0"
    before = code.read_text()
    code.write_text(before.replace("0.9", "0.8"))
    assert {training, "training the random_emulator of lead 6, seed 0"} <= own.planned()
    code.write_text(before)
    content = torch.load(weights, weights_only=True)
    content["enter.weight"] *= 2
    torch.save(content, weights)
    assert training in own.planned()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"build": "my_sea.emulator:biuld"}, "has no attribute 'biuld'"),
        ({"build": "my_see:build"}, "no module 'my_see' in "),
        ({"weights": "weights/lead7.pt"}, "weights/lead7.pt': No such file or directory; name a file that is there"),
    ],
)
def test_what_is_not_there_is_refused_before_any_job(own, changes, words):
    changed = replace(own, settings=merge(own.settings, {"network": changes}))
    answer = changed.run("--dry-run")
    assert answer.returncode == 1
    assert words in answer.stdout
