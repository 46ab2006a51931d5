"""The index is asked once, with care, and its answer is pinned; what has changed since is reported, never adopted."""

import base64
import json
import re
import shutil
from pathlib import Path

import pytest
from archive import NODES, Archive, find_dead_address, sha256
from small_archive import DATASET, MANIFEST, VERSION, Run, copy_root, name_file, state_of, write_files

pytestmark = pytest.mark.esgf

NEWER = "v20200101"
FIRST, MIDDLE, LAST = (name_file(first, first + 9) for first in (1, 11, 21))


@pytest.fixture(scope="module")
def pinned(decades: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the text of a manifest."""
    with Archive(decades) as archive:
        run = Run(tmp_path_factory.mktemp("pinned"), archive)
        run.pin()
    return (run.folder / MANIFEST).read_text()


@pytest.fixture(scope="module")
def two_versions(decades: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = copy_root(decades, tmp_path_factory.mktemp("versions"))
    write_files(root, files=3, years=10, version=NEWER, seed=1)
    return root


def refused(run: Run, *arguments: str) -> str:
    """Return the one clear message of a resolution that must fail and write nothing."""
    before = state_of(run.folder)
    answer = run.resolve(*arguments)
    assert answer.returncode == 1, answer.stdout
    assert "Traceback" not in answer.stdout
    before.pop("configuration.yaml", None)
    after = state_of(run.folder)
    after.pop("configuration.yaml")
    assert after == before
    return answer.stdout


def test_the_manifest_holds_every_replica_and_true_checksums(run, archive, decades):
    manifest = run.pin()
    assert (manifest["dataset"], manifest["version"], manifest["retracted"]) == (DATASET, VERSION, False)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|\+00:00)", manifest["resolved"])
    assert set(manifest["indices"]) == {archive.globus, archive.solr}
    assert [file["name"] for file in manifest["files"]] == [FIRST, MIDDLE, LAST]
    for file in manifest["files"]:
        true = archive.path(file["name"])
        assert (file["size"], file["checksum"]) == (true.stat().st_size, sha256(true))
        assert file["checksum_type"] == "SHA256"
        assert file["tracking_id"].startswith("hdl:21.14100/")
        # Each index knows two of the three nodes.
        assert sorted(replica["data_node"] for replica in file["replicas"]) == sorted(NODES)
        for replica in file["replicas"]:
            place = true.relative_to(decades)
            assert replica["url"] == f"{archive.address}/node/{replica['data_node']}/{place}"


def test_every_page_of_both_indices_is_read(run, archive):
    archive.page = 1
    manifest = run.pin()
    assert [len(file["replicas"]) for file in manifest["files"]] == [3, 3, 3]
    asked = archive.asked_indices()
    # Two nodes: two records of the data set, six of its files.
    markers = [json.loads(request.body).get("marker") for request in asked if request.method == "POST"]
    assert markers.count(None) == 2
    assert sorted(int(base64.b64decode(m)) for m in markers if m) == [1, 1, 2, 3, 4, 5]
    offsets = [int(re.search(r"offset=(\d+)", r.path)[1]) for r in asked if r.method == "GET"]
    assert sorted(offsets) == [0, 0, 1, 1, 2, 3, 4, 5]


def test_a_manifest_that_is_there_is_replaced_only_when_asked(run, archive):
    pinned = run.pin()
    asked = len(archive.log)
    assert "--replace" in refused(run)
    assert len(archive.log) == asked
    archive.state({"tracking_id": ["hdl:21.14100/other"]})
    answer = run.resolve("--replace")
    assert answer.returncode == 0, answer.stdout
    assert {file["tracking_id"] for file in run.pinned()["files"]} == {"hdl:21.14100/other"}
    assert [file["checksum"] for file in run.pinned()["files"]] == [file["checksum"] for file in pinned["files"]]


def test_the_manifest_may_have_another_place(archive, tmp_path):
    run = Run(tmp_path / "work", archive, esgf={"manifest": "pinned/here.json"})
    answer = run.resolve()
    assert answer.returncode == 0, answer.stdout
    assert json.loads((run.folder / "pinned/here.json").read_text())["dataset"] == DATASET
    assert not (run.folder / MANIFEST).exists()


# --- Indices that fail ---


@pytest.mark.parametrize(
    ("down", "kind"),
    [
        ("globus", "503"),
        ("globus", "html"),
        ("globus", "stall"),
        ("solr", "404"),
        ("solr", "hang_up"),
        ("solr", "broken_json"),
        ("solr", "error"),
    ],
)
def test_one_index_down_is_recorded_and_the_other_answers(run, archive, down, kind):
    archive.fault(kind, down)
    manifest = run.pin()
    assert [file["name"] for file in manifest["files"]] == [FIRST, MIDDLE, LAST]
    up = {"globus": "solr", "solr": "globus"}[down]
    for file in manifest["files"]:
        assert {replica["data_node"] for replica in file["replicas"]} == set(archive.known[up])
    said = manifest["indices"]
    assert "records" in said[getattr(archive, up)]
    assert re.search("did not answer|no search result", said[getattr(archive, down)])


def test_an_index_at_a_dead_address_is_recorded(archive, tmp_path):
    dead = f"{find_dead_address()}/esg-search/search"
    manifest = Run(tmp_path / "work", archive, esgf={"solr_indices": [dead, archive.solr]}).pin()
    assert "did not answer" in manifest["indices"][dead]
    assert len(manifest["files"]) == 3


def test_an_index_that_fails_twice_is_asked_again(run, archive):
    archive.fault("503", "globus", times=2)
    archive.fault("503", "solr", times=2, retry_after=0)
    manifest = run.pin()
    assert [len(file["replicas"]) for file in manifest["files"]] == [3, 3, 3]


@pytest.mark.parametrize("kind", ["503", "html", "hang_up"])
def test_all_indices_down_is_one_clear_error(run, archive, kind):
    for index in ("globus", "solr"):
        archive.fault(kind, index)
    said = refused(run)
    for words in (DATASET, archive.globus, archive.solr, "no index answered"):
        assert words in said
    assert not (run.folder / MANIFEST).exists()


# --- What the index says ---


@pytest.mark.parametrize("missing", [FIRST, MIDDLE, LAST])
def test_a_file_missing_from_the_index_is_an_error(run, archive, missing):
    archive.hide(name=missing)
    said = refused(run)
    assert "counts 3 files and lists 2" in said
    assert not (run.folder / MANIFEST).exists()


def test_a_gap_is_an_error_even_if_the_count_agrees(run, archive):
    archive.hide(name=MIDDLE)
    archive.state({"number_of_files": 2}, record="Dataset")
    said = refused(run)
    for words in ("120 month", FIRST, LAST):
        assert words in said


def test_files_that_overlap_are_an_error(decades, tmp_path):
    root = copy_root(decades, tmp_path)
    with Archive(root) as archive:
        shutil.copyfile(archive.path(MIDDLE), archive.path(MIDDLE).with_name(name_file(6, 20)))
        archive.path(MIDDLE).unlink()
        said = refused(Run(tmp_path / "work", archive))
    for words in ("60 month", FIRST, name_file(6, 20)):
        assert words in said


def test_a_file_inside_another_is_an_error(decades, tmp_path):
    root = copy_root(decades, tmp_path)
    with Archive(root) as archive:
        shutil.copyfile(archive.path(MIDDLE), archive.path(MIDDLE).with_name(name_file(13, 14)))
        said = refused(Run(tmp_path / "work", archive))
    assert name_file(13, 14) in said


def test_a_file_that_only_one_index_knows_is_enough(run, archive):
    archive.hide(name=MIDDLE, node=NODES[1])
    archive.hide(name=MIDDLE, node=NODES[2])
    replicas = {file["name"]: len(file["replicas"]) for file in run.pin()["files"]}
    assert replicas == {FIRST: 3, MIDDLE: 1, LAST: 3}


# One node against the others, or one index against the other on the same node.
@pytest.mark.parametrize("where", [{"node": NODES[2]}, {"node": NODES[1], "index": "solr"}], ids=["node", "index"])
@pytest.mark.parametrize(
    ("fields", "shown"), [({"size": 123456}, ["size", "123456"]), ({"checksum": ["ab" * 32]}, ["checksum", "ab" * 32])]
)
def test_replicas_that_disagree_are_an_error(run, archive, fields, shown, where):
    archive.state(fields, name=MIDDLE, **where)
    said = refused(run)
    true = str(archive.path(MIDDLE).stat().st_size) if "size" in fields else sha256(archive.path(MIDDLE))
    for words in (MIDDLE, NODES[0], where["node"], true, *shown):
        assert words in said


def test_a_file_without_checksum_is_an_error(run, archive):
    archive.state({"checksum": None, "checksum_type": None}, name=MIDDLE)
    said = refused(run)
    assert MIDDLE in said
    assert "checksum" in said


def test_a_node_that_gives_no_checksum_is_still_a_replica(run, archive):
    archive.state({"checksum": None, "checksum_type": None}, name=MIDDLE, node=NODES[0])
    manifest = run.pin()
    assert [file["checksum"] for file in manifest["files"]][1] == sha256(archive.path(MIDDLE))


@pytest.mark.parametrize("index", ["globus", "solr"])
def test_a_field_may_be_a_list_or_its_one_value(run, archive, index):
    record = next(record for record in archive.records(index) if record["title"] == MIDDLE)
    archive.state({"url": record["url"][0]}, name=MIDDLE, node=record["data_node"], index=index)
    replicas = next(file["replicas"] for file in run.pin()["files"] if file["name"] == MIDDLE)
    assert len(replicas) == 3


def test_an_unknown_data_set_is_an_error(archive, tmp_path):
    run = Run(tmp_path / "work", archive, facets={"experiment_id": "historical"})
    assert "CMIP6.CMIP.NCAR.CESM2.historical.r1i1p1f1.Omon.tos.gr" in refused(run)


def test_a_configuration_without_a_data_set_is_refused(archive, tmp_path):
    run = Run(tmp_path / "work", archive)
    run.settings["data"] = {"source": "synthetic"}
    assert "data.esgf" in refused(run)


def test_a_misspelt_facet_is_refused_before_anything_is_asked(archive, tmp_path):
    run = Run(tmp_path / "work", archive, facets={"experimnt_id": "piControl"})
    assert "experiment_id" in refused(run)
    assert not archive.log


# --- Versions ---


@pytest.mark.parametrize("wanted", ["latest", VERSION, NEWER])
def test_versions_are_never_mixed(two_versions, tmp_path, wanted):
    with Archive(two_versions) as archive:
        manifest = Run(tmp_path / "work", archive, esgf={"version": wanted}).pin()
        version = NEWER if wanted == "latest" else wanted
        assert manifest["version"] == version
        for file in manifest["files"]:
            assert file["checksum"] == sha256(archive.path(file["name"], version))
            assert all(f"/{version}/" in replica["url"] for replica in file["replicas"])


def test_an_unknown_version_names_those_that_exist(two_versions, tmp_path):
    with Archive(two_versions) as archive:
        said = refused(Run(tmp_path / "work", archive, esgf={"version": "v20210101"}))
    for words in ("v20210101", VERSION, NEWER):
        assert words in said


@pytest.mark.parametrize(
    ("wanted", "taken", "retracted"), [("latest", VERSION, False), (NEWER, NEWER, True), (VERSION, VERSION, False)]
)
def test_a_retracted_version_is_taken_only_by_name(two_versions, tmp_path, wanted, taken, retracted):
    with Archive(two_versions) as archive:
        archive.retracted.add(NEWER)
        run = Run(tmp_path / "work", archive, esgf={"version": wanted})
        answer = run.resolve()
    assert answer.returncode == 0, answer.stdout
    assert (run.pinned()["version"], run.pinned()["retracted"]) == (taken, retracted)
    assert ("retracted" in answer.stdout) == (wanted != VERSION)


@pytest.mark.parametrize("record", ["Dataset", "File"])
def test_one_node_that_knows_of_a_retraction_is_enough(two_versions, tmp_path, record):
    with Archive(two_versions) as archive:
        archive.state({"retracted": True}, record=record, version=NEWER, node=NODES[2])
        assert Run(tmp_path / "work", archive).pin()["version"] == VERSION


def test_a_data_set_that_is_retracted_as_a_whole_is_an_error(run, archive):
    archive.retracted.add(VERSION)
    said = refused(run)
    assert "retracted" in said
    assert VERSION in said


# --- The check ---


def checked(run: Run) -> tuple[int, str]:
    """Check the pinned manifest; nothing may change on the disk."""
    before = state_of(run.folder)
    answer = run.resolve("--check")
    after = state_of(run.folder)
    for state in (before, after):
        state.pop("configuration.yaml")
    assert after == before
    assert "Traceback" not in answer.stdout
    return answer.returncode, answer.stdout


def test_a_check_finds_nothing_when_nothing_has_changed(run):
    run.pin()
    status, _ = checked(run)
    assert status == 0


def test_a_check_reports_a_new_version_and_a_retraction(decades, tmp_path):
    root = copy_root(decades, tmp_path)
    with Archive(root) as archive:
        run = Run(tmp_path / "work", archive)
        run.pin()
        write_files(root, files=3, years=10, version=NEWER, seed=1)
        status, said = checked(run)
        assert status == 1
        assert NEWER in said
        assert "retracted" not in said
        archive.retracted.add(VERSION)
        status, said = checked(run)
    assert status == 1
    assert NEWER in said
    assert re.search(f"{VERSION}.*retracted", said)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (lambda archive: archive.state({"checksum": ["ab" * 32]}, name=MIDDLE), ["checksum", "ab" * 32]),
        (lambda archive: archive.state({"size": 99}, name=MIDDLE), ["size", "99"]),
        (lambda archive: archive.hide(name=MIDDLE), ["no longer"]),
    ],
)
def test_a_check_names_a_file_that_changed_or_vanished(run, archive, change, shown):
    run.pin()
    change(archive)
    status, said = checked(run)
    assert status == 1
    for words in (MIDDLE, *shown):
        assert words in said
    assert FIRST not in said


def test_a_check_that_cannot_ask_is_an_error(run, archive):
    run.pin()
    for index in ("globus", "solr"):
        archive.fault("503", index)
    status, said = checked(run)
    assert status == 1
    assert "no index answered" in said


def test_a_check_without_a_manifest_is_an_error(run):
    assert MANIFEST in refused(run, "--check")


# --- A manifest that cannot be trusted ---


def cut_off(text: str) -> str:
    return text[: len(text) // 2]


def forget_a_file(text: str) -> str:
    manifest = json.loads(text)
    del manifest["files"][1]
    return json.dumps(manifest)


def take_another_data_set(text: str) -> str:
    return text.replace("piControl", "historical")


def misspell(text: str) -> str:
    return text.replace('"checksum"', '"cheksum"')


def climb(text: str) -> str:
    return text.replace(f'"name": "{MIDDLE}"', f'"name": "../../{MIDDLE}"')


@pytest.mark.parametrize(
    ("damage", "shown"),
    [
        (cut_off, []),
        (lambda text: "", []),
        (lambda text: "\0\1\2", []),
        (lambda text: "[]", []),
        (forget_a_file, ["120 month", FIRST, LAST]),
        (take_another_data_set, ["CMIP6.CMIP.NCAR.CESM2.historical", DATASET]),
        (lambda text: text.replace(VERSION, "v20180101"), ["v20180101", VERSION]),
        (misspell, ["checksum"]),
        (climb, ["name"]),
    ],
    ids=["cut", "empty", "binary", "list", "gap", "other data set", "other version", "misspelt", "climbing"],
)
def test_a_manifest_that_cannot_be_trusted_is_named(archive, tmp_path, pinned, damage, shown):
    run = Run(tmp_path / "work", archive, esgf={"version": VERSION})
    run.put(run.folder / MANIFEST, damage(pinned).encode())
    said = refused(run, "--check")
    assert not archive.log
    for words in (MANIFEST, *shown):
        assert words in said
