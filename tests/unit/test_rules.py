"""Every rule has a log, a benchmark and the environment that its work needs: the text of the rule files, read here."""

import re
from pathlib import Path

import pytest

RULE_FILES = Path(__file__).parents[2] / "workflow" / "rules"
RULE = re.compile(
    r"^(?P<indent> *)(?:rule|checkpoint) (?P<name>\w+):\n(?P<body>(?:(?P=indent) +.*\n|\n)+)", re.MULTILINE
)
# It has no output but the benchmark's, and removes its input, whose size the benchmark would look up.
WITHOUT_BENCHMARK = {"fetch_dataset"}
ON_GPU = {
    "train_emulator",
    "attribute_pixels",
    "explain_instance",
    "check_signs",
    "survey_pixels",
    "compare_methods",
    "measure_fidelity",
    "measure_training_size",
    "evaluate_uncertainty",
}


def read_rules():
    found = [rule for path in sorted(RULE_FILES.glob("*.smk")) for rule in RULE.finditer(path.read_text())]
    return {rule["name"]: rule["body"] for rule in found}


def find_directive(body, name):
    """Return what follows a directive, or None."""
    found = re.search(rf"^ +{name}:\s+(.+?),?$", body, re.MULTILINE)
    return found and found[1]


RULES = read_rules()
EVERY_RULE = pytest.mark.parametrize("name", RULES)


def test_every_rule_is_read():
    text = "".join(path.read_text() for path in RULE_FILES.glob("*.smk"))
    assert len(RULES) == len(re.findall(r"^ *(?:rule|checkpoint) \w+:", text, re.MULTILINE)) > 15


@EVERY_RULE
@pytest.mark.parametrize(
    ("directive", "folder", "suffix"), [("log", "logs", "log"), ("benchmark", "benchmarks", "tsv")]
)
def test_every_rule_has_a_log_and_a_benchmark_of_its_name(name, directive, folder, suffix):
    found = find_directive(RULES[name], directive)
    if directive == "benchmark" and name in WITHOUT_BENCHMARK:
        assert found is None
        return
    assert found is not None
    assert re.fullmatch(rf'f"{{RUN}}/{folder}/{name}(/.+)?\.{suffix}"', found), found


@EVERY_RULE
def test_a_rule_runs_in_the_environment_that_it_needs(name):
    environment = find_directive(RULES[name], "conda").strip('"')
    assert environment == f"../../envs/{'gpu' if name in ON_GPU else 'cpu'}.yaml"
    assert (RULE_FILES / environment).is_file()


@pytest.mark.parametrize("name", [name for name, body in RULES.items() if "shell:" in body])
def test_every_value_in_a_shell_line_is_quoted(name):
    line = RULES[name].partition("shell:")[2]
    values = re.findall(r"\{([^{}]+)\}", line)
    assert values
    # What a site launches MPI with are words; the number of ranks is a number.
    assert [value for value in values if not value.endswith(":q")] == [
        value for value in values if value in ("resources.mpi", "resources.tasks")
    ]
