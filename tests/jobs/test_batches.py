import os
import sys
import time

import pytest

from app.jobs import batches as batches_module
from app.jobs.batch import BatchesUnavailable, StoreUnavailable
from app.jobs.batches import ABANDONED_S, check_batches, open_batches
from app.settings import Settings
from tests.conftest import REPOSITORY
from tests.jobs.orders import new_batch
from tests.processes import ran

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a service on Windows runs no batches")


def test_service_without_batches_needs_nothing_of_them():
    code = "import sys, app.main, app.server; print({'sqlalchemy', 'dask', 'pyarrow', 'app.batch'} & set(sys.modules))"
    found = ran([sys.executable, "-c", code], cwd=REPOSITORY)
    assert (found.stdout, found.returncode) == ("set()\n", 0), found.stderr
    assert open_batches(Settings()) is None


def test_missing_package_is_named_with_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(batches_module, "NEEDED", ("shapely", "no_such_package"))
    with pytest.raises(BatchesUnavailable, match=r"not installed: no_such_package\..*marrowscope\[batch\]"):
        check_batches(Settings(batches_dir=tmp_path))


def test_settings_that_cannot_be_met_are_refused_by_name(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BatchesUnavailable, match="MARROWSCOPE_BATCHES_DIR"):
        check_batches(Settings(batches_dir=tmp_path / "file" / "batches"))
    with pytest.raises(BatchesUnavailable, match="MARROWSCOPE_SLIDES_DIR"):
        check_batches(Settings(batches_dir=tmp_path / "batches", slides_dir=tmp_path / "none"))
    with pytest.raises(StoreUnavailable, match="MARROWSCOPE_DATABASE_URL"):
        check_batches(Settings(batches_dir=tmp_path / "batches", database_url="nonsense"))


def test_service_that_cannot_run_its_batches_does_not_start(tmp_path):
    environment = {**os.environ, "MARROWSCOPE_BATCHES_DIR": str(tmp_path), "MARROWSCOPE_SLIDES_DIR": "/no/such/place"}
    command = [sys.executable, "-m", "app", "serve", "--port", "0"]
    found = ran(command, cwd=REPOSITORY, env=environment)
    refusal = "Error: MARROWSCOPE_SLIDES_DIR: there is no folder /no/such/place.\n"
    assert (found.returncode, found.stderr) == (1, refusal)


def test_uploads_that_were_never_whole_are_removed_when_they_are_old(tmp_path):
    opened = open_batches(Settings(batches_dir=tmp_path))
    old, new = opened.arriving(), opened.arriving()
    opened.store.close()
    for left in (old, new):
        (left / "1").write_bytes(b"x")
    os.utime(old, times=(time.time() - ABANDONED_S - 60,) * 2)
    check_batches(Settings(batches_dir=tmp_path))
    assert not old.exists()
    assert new.exists()


def test_files_of_a_batch_are_on_the_disk_before_its_row_is(tmp_path, monkeypatch):
    opened = open_batches(Settings(batches_dir=tmp_path))
    arrived = opened.arriving()
    (arrived / "tiles").mkdir()
    wanted = [arrived, arrived / "tiles", arrived / "tiles" / "a.png", arrived / "patients.csv"]
    for path in wanted[2:]:
        path.write_bytes(b"slide,patient\n")
    inodes, synced = {path.stat().st_ino for path in [*wanted, tmp_path]}, set()
    fsync, add = os.fsync, opened.store.add

    def noted(descriptor):
        synced.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def checked(batch):
        assert inodes <= synced
        add(batch)

    monkeypatch.setattr(os, "fsync", noted)
    monkeypatch.setattr(opened.store, "add", checked)
    batch = opened.add(arrived, new_batch().order, None)
    assert opened.store.get(batch.id) == batch
    opened.store.close()
