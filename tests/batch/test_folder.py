import pyarrow as pa
import pytest

from app.batch.folder import Run, RunFolder, RunRefused, SlideEntry, read_run
from app.batch.part_tables import write_part
from tests.batch.made_run import PLAN

RUN = Run(
    bundle="marrow",
    bundle_sha256="0" * 64,
    bundles_dir="/models",
    code_version="0.1.0",
    precision="fast",
    mpp=None,
    max_pixels=9_000_000,
    gzip=False,
    slides=(SlideEntry(slide="a", path="/slides/a.svs", regions=None, patient=None),),
)


@pytest.fixture
def at(tmp_path):
    return RunFolder(tmp_path / "out" / "run")


def test_run_is_begun_in_a_new_folder_and_gone_on_with(at):
    at.begin(RUN)
    before = (at.path / "manifest.json").read_bytes()
    (at.path / "slides").mkdir()
    at.begin(RUN)
    assert (at.path / "manifest.json").read_bytes() == before
    assert read_run(at.path) == RUN


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"mpp": 0.5}, "other mpp:"),
        ({"precision": "full", "gzip": True}, "other precision, gzip:"),
        ({"bundle_sha256": "1" * 64}, "other bundle_sha256:"),
        ({"code_version": "0.2.0"}, "other code_version:"),
        ({"slides": ()}, "other slides:"),
        ({"slides": (RUN.slides[0].model_copy(update={"patient": "P-1"}),)}, "other slides:"),
    ],
)
def test_another_run_is_refused_by_what_is_other(at, changes, named):
    at.begin(RUN)
    with pytest.raises(RunRefused) as refused:
        at.begin(RUN.model_copy(update=changes))
    assert named in str(refused.value)
    assert "choose another --out" in str(refused.value)
    at.begin(RUN)


def test_folder_with_other_files_is_refused_and_left_alone(at):
    at.path.mkdir(parents=True)
    (at.path / "thesis.docx").touch()
    with pytest.raises(RunRefused, match=r"holds thesis\.docx; choose another --out"):
        at.begin(RUN)
    assert [path.name for path in at.path.iterdir()] == ["thesis.docx"]


def test_hidden_files_are_no_reason_to_refuse_a_folder(at):
    at.path.mkdir(parents=True)
    (at.path / ".DS_Store").touch()
    (at.path / ".unfinished-17-0f-manifest.json").touch()
    at.begin(RUN)


@pytest.mark.parametrize("content", ["", "{}", '{"name": "of another program"}', "text"])
def test_manifest_of_another_program_is_refused(at, content):
    at.path.mkdir(parents=True)
    (at.path / "manifest.json").write_text(content)
    with pytest.raises(RunRefused, match=r"was not written by this version; choose another --out"):
        at.begin(RUN)


def test_tiles_without_a_whole_part_are_missing(at):
    assert at.missing("a", PLAN) == [0, 1, 2]
    at.work("a").mkdir(parents=True)
    for number in range(3):
        write_part(pa.table({"x": [1.0, 2.0]}), at.part("a", number))
    assert at.missing("a", PLAN) == []
    at.part("a", 1).unlink()
    assert at.missing("a", PLAN) == [1]


@pytest.mark.parametrize("length", [0, 3, 200, -1])
def test_part_without_its_end_is_missing(at, length):
    at.work("a").mkdir(parents=True)
    for number in range(3):
        write_part(pa.table({"x": [1.0, 2.0]}), at.part("a", number))
    part = at.part("a", 2)
    part.write_bytes(part.read_bytes()[:length])
    assert at.missing("a", PLAN) == [2]


def test_plan_is_read_as_it_was_written(at):
    at.work("a").mkdir(parents=True)
    at.plan("a").write_text(PLAN.model_dump_json())
    assert at.read_plan("a") == PLAN


def test_summary_that_a_power_cut_left_without_its_end_is_none(tmp_path):
    at = RunFolder(tmp_path)
    at.slide("a").mkdir(parents=True)
    at.geojson("a", RUN).write_text("{}")
    assert at.done("a", RUN) is None
    at.summary("a").write_bytes(b"")
    assert at.done("a", RUN) is None


def test_what_a_killed_process_left_half_written_is_removed(tmp_path):
    (tmp_path / ".unfinished-123-0f-progress.json").write_text("{")
    RunFolder(tmp_path).begin(RUN)
    assert not list(tmp_path.glob(".*progress*"))
