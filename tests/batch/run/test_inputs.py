"""Nothing is kept that was made from other inputs than those of now, however long a worker lives.

The workers of these tests are threads of this process, which outlive every batch.
"""

import errno
import json
import os
import shutil
from copy import copy
from dataclasses import replace
from math import inf

import pytest
import shapely
from distributed import Client

from app.answer.provenance import code_version
from app.batch.folder import AnotherBatch, BatchFolder, BatchManifest
from app.batch.plan.inputs import SlideChanged
from app.batch.run import tasks
from app.batch.run.cluster import Absence
from app.batch.run.engine import Engine
from app.batch.run.resume import begin_or_resume
from app.batch.summary import SlideInputs, read_summary
from app.pipeline.errors import InvalidBundle
from tests.batch.one_slide import small_tiles, source_and_batch
from tests.batch.read.drawn_slides import drawn_pixels, write_striped
from tests.batch.run.command import results
from tests.conftest import REPOSITORY

TOP, BOTTOM = shapely.box(0, 0, 600, 150), shapely.box(0, 150, 600, 300)


@pytest.fixture(scope="module")
def client():
    """One worker, which lives as long as the tests of this file."""
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as client:
        yield client


@pytest.fixture
def slide(tmp_path, monkeypatch):
    """A slide of two tiles."""
    small_tiles(monkeypatch)
    return draw(tmp_path / "a.tif", seed=0)


def draw(path, seed):
    """Draw the slide: with another seed the file has the same size and other pixels."""
    return write_striped(path, drawn_pixels(600, 300, seed), compression=None)


def regions(path, area):
    path.write_text(json.dumps({"type": "Feature", "geometry": shapely.geometry.mapping(area), "properties": {}}))
    return path


def nuclei(path, radius):
    """Write nuclei of another program for both tiles of the slide."""
    places = [shapely.Point(x, y) for x in range(40, 600, 40) for y in range(40, 300, 40)]
    features = [{"geometry": shapely.geometry.mapping(place.buffer(radius))} for place in places]
    path.write_text(json.dumps(features))
    return path


def test_inputs_hold_every_option_of_a_batch():
    """Three only decide which files there are, and the checksum of the bundle says more than where it lies."""
    apart = {"slides", "gzip", "anndata", "dicom_annotations", "bundle", "bundles_dir"}
    assert BatchManifest.model_fields.keys() - apart < SlideInputs.model_fields.keys()


class Batch:
    """A batch of one slide, as the command runs it."""

    def __init__(self, client, out, slide, bundle, patient="P-1", **options):
        _, batch = source_and_batch(slide, bundle, **options)
        sources = tuple(one.model_copy(update={"patient": patient}) for one in batch.slides)
        real = {"bundles_dir": str(REPOSITORY / "models"), "code_version": code_version(), "slides": sources}
        self.batch: BatchManifest = batch.model_copy(update=real)
        self.folder = BatchFolder(out)
        self._client = client

    def begin(self):
        begin_or_resume(self.folder, self.batch)
        return self

    def run(self):
        """Run it to its end and return its progress."""
        self.begin()
        engine = Engine(self._client, self.folder, self.batch, lambda progress: None, Absence(inf), {})
        engine.run()
        return engine.progress

    def do(self, task, *arguments):
        """Do one task of it in this process."""
        return task(self.folder.path, self.batch.sha256, 0, *arguments)

    def begun(self, n_tiles):
        """Prepare it and analyse some of its tiles; then it is stopped."""
        prepared = self.begin().do(tasks.prepare_slide)
        for number in range(n_tiles):
            self.do(tasks.analyse_slide_tile, prepared.inputs_sha256, number)
        return prepared

    def summary(self):
        return read_summary(self.folder.summary("a"))


def is_whole(progress):
    return (progress.slides_done, progress.failures, progress.tiles_done) == (1, (), progress.tiles)


def test_worker_uses_the_scale_of_the_batch_that_is_in_the_folder_now(client, tmp_path, monkeypatch, bundle):
    small_tiles(monkeypatch)
    slide = write_striped(tmp_path / "a.tif", drawn_pixels(600, 300), None)
    assert is_whole(Batch(client, tmp_path / "out", slide, bundle, mpp=0.25).run())
    shutil.rmtree(tmp_path / "out")
    second = Batch(client, tmp_path / "out", slide, bundle, mpp=0.5)
    assert is_whole(second.run())
    assert (second.summary().mpp, second.summary().um_per_px) == (0.5, 0.5)
    fresh = Batch(client, tmp_path / "fresh", slide, bundle, mpp=0.5)
    fresh.run()
    assert results(second.folder.slides) == results(fresh.folder.slides)


def test_worker_that_finds_another_batch_in_the_folder_refuses(client, tmp_path, slide, bundle):
    Batch(client, tmp_path / "out", slide, bundle).begin()
    with pytest.raises(AnotherBatch, match="finds another batch in"):
        Batch(client, tmp_path / "out", slide, bundle, mpp=0.5).do(tasks.prepare_slide)


def edited(folder, what):
    """Edit one of the inputs of a batch that was begun; return what differs in its options, and how that is said."""
    if what == "file":
        draw(folder / "a.tif", seed=1)
    if what == "regions":
        regions(folder / "a.geojson", BOTTOM)
    if what == "nuclei":
        nuclei(folder / "n.geojson", radius=8)
    return {"patient": "P-2" if what == "patient" else "P-1"}


@pytest.mark.parametrize("n_tiles", [1, 2, None])
@pytest.mark.parametrize("what", ["file", "regions", "nuclei", "patient"])
def test_what_was_made_of_other_inputs_is_made_anew_and_that_is_said(client, tmp_path, slide, bundle, what, n_tiles):
    options = {"regions": regions(tmp_path / "a.geojson", TOP)}
    if what == "nuclei":
        options["nuclei"] = nuclei(tmp_path / "n.geojson", radius=9)
    first = Batch(client, tmp_path / "out", slide, bundle, **options)
    if n_tiles is None:
        first.run()
    else:
        first.begun(n_tiles)
    options |= edited(tmp_path, what)
    second = Batch(client, tmp_path / "out", slide, bundle, **options)
    progress = second.run()
    assert is_whole(progress)
    (change,) = progress.changes
    assert change.slide == "a"
    assert change.reason == f"Its {what} changed, so its earlier results were discarded."
    fresh = Batch(client, tmp_path / "fresh", slide, bundle, **options)
    assert fresh.run().changes == ()
    assert results(second.folder.slides) == results(fresh.folder.slides)
    assert second.run().changes == ()


def test_change_is_said_by_the_run_that_finishes_the_slide(client, tmp_path, slide, bundle):
    batch = Batch(client, tmp_path / "out", slide, bundle)
    batch.run()
    draw(slide, seed=1)
    batch.begun(n_tiles=1)
    assert [change.slide for change in batch.run().changes] == ["a"]
    assert batch.run().changes == ()


def test_results_are_kept_when_the_inputs_are_the_same_in_new_files(client, tmp_path, slide, bundle):
    options = {"regions": regions(tmp_path / "a.geojson", TOP)}
    batch = Batch(client, tmp_path / "out", slide, bundle, **options)
    batch.run()
    before = [path.stat().st_mtime_ns for path in batch.folder.results("a").iterdir()]
    draw(tmp_path / "new.tif", seed=0).replace(slide)
    regions(tmp_path / "a.geojson", TOP)
    assert is_whole(batch.run())
    assert [path.stat().st_mtime_ns for path in batch.folder.results("a").iterdir()] == before


def test_slide_that_became_unreadable_keeps_no_results_of_before(client, tmp_path, slide, bundle):
    batch = Batch(client, tmp_path / "out", slide, bundle)
    batch.run()
    slide.write_bytes(b"no slide")
    (failure,) = batch.run().failures
    assert failure.reason.startswith("Its file changed, so its earlier results were discarded. It is not a slide ")
    assert not batch.folder.results("a").exists()


def test_tiles_of_a_slide_that_is_replaced_meanwhile_are_never_mixed(client, tmp_path, slide, bundle):
    batch = Batch(client, tmp_path / "out", slide, bundle)
    prepared = batch.begun(n_tiles=1)
    draw(tmp_path / "new.tif", seed=1).replace(slide)
    with pytest.raises(SlideChanged, match="changed while it was analysed; give the command again"):
        batch.do(tasks.analyse_slide_tile, prepared.inputs_sha256, 1)
    assert not batch.folder.tile("a", 1).exists()


def test_slide_that_is_overwritten_while_a_tile_is_read_gives_no_tile(client, tmp_path, slide, bundle, monkeypatch):
    batch = Batch(client, tmp_path / "out", slide, bundle)
    prepared = batch.begun(n_tiles=0)
    analyse_tile = tasks.analyse_tile

    def overwritten(*arguments):
        found = analyse_tile(*arguments)
        draw(slide, seed=1)
        return found

    monkeypatch.setattr(tasks, "analyse_tile", overwritten)
    with pytest.raises(SlideChanged):
        batch.do(tasks.analyse_slide_tile, prepared.inputs_sha256, 0)
    assert not batch.folder.tile("a", 0).exists()


def test_slide_that_is_written_again_as_it_was_gives_its_tile(client, tmp_path, slide, bundle, monkeypatch):
    batch = Batch(client, tmp_path / "out", slide, bundle)
    prepared = batch.begun(n_tiles=0)
    analyse_tile = tasks.analyse_tile

    def touched(*arguments):
        draw(tmp_path / "new.tif", seed=0).replace(slide)
        return analyse_tile(*arguments)

    monkeypatch.setattr(tasks, "analyse_tile", touched)
    batch.do(tasks.analyse_slide_tile, prepared.inputs_sha256, 0)
    assert batch.folder.tile("a", 0).exists()


@pytest.mark.parametrize("what", ["file", "regions"])
def test_slide_is_not_finished_if_its_inputs_changed_since_it_was_planned(client, tmp_path, slide, bundle, what):
    batch = Batch(client, tmp_path / "out", slide, bundle, regions=regions(tmp_path / "a.geojson", TOP))
    sha256 = batch.begun(n_tiles=2).inputs_sha256
    batch.do(tasks.write_results, sha256)
    batch.do(tasks.write_outlines, sha256)
    edited(tmp_path, what)
    with pytest.raises(SlideChanged):
        batch.do(tasks.finish_slide, sha256)
    assert not batch.folder.summary("a").exists()


def test_tile_that_a_lost_worker_writes_late_is_not_joined_with_the_others(client, tmp_path, slide, bundle):
    batch = Batch(client, tmp_path / "out", slide, bundle)
    batch.begun(n_tiles=1)
    late = batch.folder.tile("a", 0).read_bytes()
    draw(slide, seed=1)
    sha256 = batch.begun(n_tiles=2).inputs_sha256
    batch.folder.tile("a", 0).write_bytes(late)
    for task in (tasks.write_results, tasks.write_outlines):
        with pytest.raises(SlideChanged):
            batch.do(task, sha256)
    assert batch.begun(n_tiles=0).missing == (0,)


@pytest.fixture(scope="module")
def finished(client, tmp_path_factory, bundle):
    folder = tmp_path_factory.mktemp("finished")
    batch = Batch(client, folder / "out", draw(folder / "a.tif", seed=0), bundle)
    batch.run()
    return batch


def test_summary_lists_every_other_file(finished):
    lengths = {path.name: path.stat().st_size for path in finished.folder.results("a").iterdir()}
    assert finished.summary().files == {name: n for name, n in lengths.items() if name != "summary.json"}


@pytest.mark.parametrize("cut", [lambda path: path.unlink(), lambda path: os.truncate(path, path.stat().st_size - 2)])
def test_slide_is_done_again_if_any_file_is_missing_or_has_lost_its_end(finished, cut):
    whole = results(finished.folder.slides)
    assert len(whole) > 10
    for path in sorted(finished.folder.results("a").iterdir()):
        content = path.read_bytes()
        cut(path)
        assert not finished.do(tasks.prepare_slide).is_finished, path.name
        path.write_bytes(content)
    os.truncate(finished.folder.geojson("a", finished.batch), 1000)
    assert is_whole(finished.run())
    assert results(finished.folder.slides) == whole


def test_slide_is_not_finished_if_the_disk_has_lost_the_end_of_a_file(client, tmp_path, slide, bundle):
    batch = Batch(client, tmp_path / "out", slide, bundle)
    sha256 = batch.begun(n_tiles=2).inputs_sha256
    batch.do(tasks.write_results, sha256)
    batch.do(tasks.write_outlines, sha256)
    picture = batch.folder.results("a") / "overview.jpg"
    length = picture.stat().st_size
    os.truncate(picture, 4096)
    with pytest.raises(OSError, match=rf"Only 4096 of {length} bytes were kept: .*overview\.jpg"):
        batch.do(tasks.finish_slide, sha256)
    assert not batch.folder.summary("a").exists()


@pytest.mark.parametrize("number", [errno.ENOTEMPTY, errno.EBUSY])
def test_disk_that_does_not_let_go_of_a_file_ends_no_batch(client, tmp_path, slide, bundle, monkeypatch, number):
    batch = Batch(client, tmp_path / "out", slide, bundle)

    def refuse(path, **options):
        raise OSError(number, os.strerror(number), path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", refuse)
        assert is_whole(batch.run())
    assert [path.name for path in batch.folder.results("a").glob("work")] == []
    assert is_whole(batch.run())
    assert not list(tmp_path.rglob(".unfinished-*"))


def test_worker_without_the_network_of_the_batch_refuses(client, tmp_path, slide, bundle, monkeypatch):
    batch = Batch(client, tmp_path / "out", slide, bundle).begin()
    without = replace(bundle, backend=copy(bundle.backend))
    without.backend.precisions = ("full",)
    monkeypatch.setattr(tasks, "load_bundle", lambda *arguments, **options: without)
    with pytest.raises(InvalidBundle, match=r"cannot compute the network in 8-bit integers .* --precision full"):
        batch.do(tasks.prepare_slide)
