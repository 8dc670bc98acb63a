import json

import pyarrow as pa
import pytest

from app.batch.analyse.cells import write_tile
from app.batch.folder import BatchFolder, BatchManifest, BatchSlide, read_manifest
from app.batch.plan.plan import read_plan
from app.batch.run.resume import BatchRefused, begin_or_resume, finished_slide, missing_tiles
from tests.batch.one_slide import INPUTS, PLAN

BATCH = BatchManifest(
    bundle="marrow",
    bundle_sha256="0" * 64,
    bundles_dir="/models",
    code_version="0.1.0",
    precision="fast",
    mpp=None,
    max_pixels=9_000_000,
    gzip=False,
    slides=(BatchSlide(slide="a", path="/slides/a.svs", regions=None, patient=None),),
)


@pytest.fixture
def folder(tmp_path):
    return BatchFolder(tmp_path / "out" / "batch")


def test_batch_is_begun_in_a_new_folder_and_resumed_in_it(folder):
    begin_or_resume(folder, BATCH)
    before = (folder.path / "manifest.json").read_bytes()
    (folder.path / "slides").mkdir()
    begin_or_resume(folder, BATCH)
    assert (folder.path / "manifest.json").read_bytes() == before
    assert read_manifest(folder.path, BATCH.sha256) == BATCH


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mpp": 0.5}, "differs in mpp:"),
        ({"precision": "full", "gzip": True}, "differs in precision, gzip:"),
        ({"bundle_sha256": "1" * 64}, "differs in bundle_sha256:"),
        ({"code_version": "0.2.0"}, "differs in code_version:"),
        ({"map": "area"}, "differs in map:"),
        ({"slides": ()}, "differs in slides:"),
        ({"slides": (BATCH.slides[0].model_copy(update={"path": "/slides/b.svs"}),)}, "differs in slides:"),
        ({"slides": (BATCH.slides[0].model_copy(update={"patient": "P-1"}),)}, "differs in patients:"),
        ({"slides": (BATCH.slides[0].model_copy(update={"regions": "/a.geojson"}),)}, "differs in regions:"),
    ],
)
def test_another_batch_is_refused_with_what_is_different(folder, changes, named):
    begin_or_resume(folder, BATCH)
    with pytest.raises(BatchRefused) as refused:
        begin_or_resume(folder, BATCH.model_copy(update=changes))
    assert named in str(refused.value)
    assert "choose another --out" in str(refused.value)
    begin_or_resume(folder, BATCH)


def test_folder_of_an_older_version_is_refused_though_it_knows_fewer_options(folder):
    older = BATCH.model_copy(update={"code_version": "0.0.9"}).model_dump(mode="json")
    del older["map"], older["frame"]
    folder.path.mkdir(parents=True)
    folder.manifest.write_text(json.dumps(older))
    with pytest.raises(BatchRefused, match=r"differs in code_version: the results would mix"):
        begin_or_resume(folder, BATCH)


def test_folder_with_foreign_files_is_refused_and_left_alone(folder):
    folder.path.mkdir(parents=True)
    (folder.path / "thesis.docx").touch()
    with pytest.raises(BatchRefused, match=r"holds thesis\.docx; choose another --out"):
        begin_or_resume(folder, BATCH)
    assert [path.name for path in folder.path.iterdir()] == ["thesis.docx"]


def test_hidden_files_are_no_reason_to_refuse_a_folder(folder):
    folder.path.mkdir(parents=True)
    (folder.path / ".DS_Store").touch()
    (folder.path / ".unfinished-17-0f-manifest.json").touch()
    begin_or_resume(folder, BATCH)


@pytest.mark.parametrize("content", ["", "{}", '{"name": "of another program"}', "text"])
def test_manifest_of_another_program_is_refused(folder, content):
    folder.path.mkdir(parents=True)
    (folder.path / "manifest.json").write_text(content)
    with pytest.raises(BatchRefused, match=r"was not written by this version; choose another --out"):
        begin_or_resume(folder, BATCH)


def test_tiles_without_a_table_are_missing(folder):
    assert missing_tiles(folder, PLAN) == (0, 1, 2)
    for number in range(3):
        write_tile(pa.table({"x": [1.0, 2.0]}), folder.tile("a", number), INPUTS.sha256)
    assert missing_tiles(folder, PLAN) == ()
    folder.tile("a", 1).unlink()
    assert missing_tiles(folder, PLAN) == (1,)


@pytest.mark.parametrize("length", [0, 3, 200, -1])
def test_table_without_its_end_is_missing(folder, length):
    for number in range(3):
        write_tile(pa.table({"x": [1.0, 2.0]}), folder.tile("a", number), INPUTS.sha256)
    table = folder.tile("a", 2)
    table.write_bytes(table.read_bytes()[:length])
    assert missing_tiles(folder, PLAN) == (2,)


def test_plan_is_read_as_it_was_written(folder):
    folder.plan("a").parent.mkdir(parents=True)
    folder.plan("a").write_text(PLAN.model_dump_json())
    assert read_plan(folder.plan("a")) == PLAN


@pytest.mark.parametrize("content", [None, b"", b"{}"])
def test_slide_without_a_whole_summary_is_not_finished(tmp_path, content):
    folder = BatchFolder(tmp_path)
    folder.results("a").mkdir(parents=True)
    if content is not None:
        folder.summary("a").write_bytes(content)
    assert finished_slide(folder, INPUTS) is None


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    (tmp_path / ".unfinished-123-0f-progress.json").write_text("{")
    begin_or_resume(BatchFolder(tmp_path), BATCH)
    assert not list(tmp_path.glob(".*progress*"))
