import shutil
import subprocess
import time

import pytest

from sealiency import provenance
from sealiency.provenance import describe_file, describe_provenance, find_commit, hash_code, hash_settings

SCRIPT = "from sealiency.one import first\nimport json\n"
MODULES = {
    "__init__.py": '__version__ = "1"\n',
    "one.py": "from sealiency.part import two\n",
    "part/__init__.py": "",
    "part/two.py": "def work():\n    import sealiency.part.three\n",
    "part/three.py": "from sealiency.one import first\n",
    "part/unrelated.py": "",
    "data.py": "",
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A small library in which one imports two, two imports three, and three imports one again."""
    root = tmp_path / "sealiency"
    for name, text in MODULES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "script.py").write_text(SCRIPT)
    monkeypatch.setattr(provenance, "PACKAGE", root)
    provenance._imported_names.cache_clear()
    yield root
    provenance._imported_names.cache_clear()


@pytest.mark.parametrize("module", ["one.py", "part/__init__.py", "part/two.py", "part/three.py", "../script.py"])
def test_hash_changes_with_code_that_is_imported(package, tmp_path, module):
    before = hash_code(tmp_path / "script.py")
    path = package / module
    path.write_text(path.read_text() + "# changed\n")
    assert hash_code(tmp_path / "script.py") != before


@pytest.mark.parametrize("module", ["part/unrelated.py", "data.py", "__init__.py", "part/new.py"])
def test_hash_does_not_change_with_other_code(package, tmp_path, module):
    before = hash_code(tmp_path / "script.py")
    (package / module).write_text("# changed\n")
    assert hash_code(tmp_path / "script.py") == before


def test_code_moved_between_modules_changes_the_hash(package, tmp_path):
    (package / "part/two.py").write_text(MODULES["part/two.py"] + "x = 1\n")
    before = hash_code(tmp_path / "script.py")
    (package / "part/two.py").write_text(MODULES["part/two.py"])
    (package / "part/three.py").write_text(MODULES["part/three.py"] + "x = 1\n")
    assert hash_code(tmp_path / "script.py") != before


@pytest.mark.parametrize("place", ["aaa", "zzz"])
def test_hash_does_not_depend_on_where_the_code_lies(package, tmp_path, monkeypatch, place):
    # Before the script in the order of paths, and after it.
    before = hash_code(tmp_path / "script.py")
    copy = shutil.copytree(package, tmp_path / place / "sealiency")
    monkeypatch.setattr(provenance, "PACKAGE", copy)
    assert hash_code(tmp_path / "script.py") == before


def test_scripts_of_the_project_see_the_modules_they_use():
    scripts = provenance.PACKAGE.parents[1] / "workflow" / "scripts"
    found, left = set(), [scripts / "train_emulator.py"]
    while left:
        for module in provenance._imported_modules(left.pop()):
            if module not in found:
                found.add(module)
                left.append(module)
    names = {module.relative_to(provenance.PACKAGE).as_posix() for module in found}
    assert {
        "emulators/training.py",
        "emulators/training_state.py",
        "emulators/networks/densenet.py",
        "data/samples.py",
        "files.py",
        "config/emulator.py",
    } <= names
    assert not {"attribution/methods.py", "figures/style.py", "skill/evaluation.py"} & names


def test_hash_of_settings_sees_values_not_their_order():
    assert hash_settings({"a": 1, "b": [1, 2]}) == hash_settings({"b": [1, 2], "a": 1})
    assert hash_settings({"a": 1, "b": [1, 2]}) != hash_settings({"a": 1, "b": [2, 1]})
    assert hash_settings({"a": 1}) != hash_settings({"a": 1.5})


def test_description_is_flat():
    described = describe_provenance({"a": {"b": 1}}, {"model": "abc"}, seed=4, note="x")
    assert all(isinstance(value, str | int | float) for value in described.values())
    assert described["settings"] == '{"a": {"b": 1}}'
    assert described["settings_sha256"] == hash_settings({"a": {"b": 1}})
    assert (described["seed"], described["note"]) == (4, "x")


def test_history_of_a_file_is_the_same_at_any_time():
    described = describe_file("prepare_record", {"a": 1}, {"model": "abc"}, seed=4)
    assert described["Conventions"] == "CF-1.11"
    # Nothing but what else the file states: a time of day would change its bytes.
    version, commit = described["sealiency_version"], described["sealiency_commit"]
    assert described["history"] == f"sealiency {version} (commit {commit}): prepare_record"
    assert described.items() > describe_provenance({"a": 1}, {"model": "abc"}, seed=4).items()


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_commit_of_a_checkout_and_of_none(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    find_commit.cache_clear()
    try:
        assert find_commit() == "unknown"
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        (tmp_path / "a.py").write_text("1\n")
        for command in (["init", "-q"], ["add", "a.py"], [*identity, "commit", "-q", "-m", "a"]):
            subprocess.run(["git", *command], cwd=tmp_path, check=True)
        find_commit.cache_clear()
        clean = find_commit()
        assert len(clean) == 12
        (tmp_path / "a.py").write_text(f"changed at {time.time()}\n")
        find_commit.cache_clear()
        assert find_commit() == f"{clean}-dirty"
    finally:
        find_commit.cache_clear()
