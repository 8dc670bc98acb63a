"""All that a service which runs batches has: their database, their folders, and the thread that works them off."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from app.jobs.batch import Batch, Order, Progress
from app.jobs.errors import BatchesUnavailable
from app.settings import Settings

if TYPE_CHECKING:
    from app.jobs.runner import Runner
    from app.jobs.store import Store

NEEDED = ("dask", "distributed", "jinja2", "matplotlib", "openslide", "pyarrow", "shapely", "sqlalchemy", "tifffile")
"""Packages of the extra `batch`."""
ARRIVING = ".arriving-"
"""Begins the name of a folder whose upload is not whole."""
ABANDONED_S = 24 * 3600
"""A folder that has been arriving for so long will never be whole: its service was killed."""


class Batches:
    """The batches of a service.

    Args:
        folders: holds the folder of each batch, under its id; an absolute path.
        slides: root of the paths that may be named; None: none may.
        store: the database.
        runner: the thread.
    """

    def __init__(self, folders: Path, slides: Path | None, store: Store, runner: Runner) -> None:
        self.slides = slides
        self.store = store
        self._folders = folders
        self._runner = runner

    def start(self) -> None:
        """Begin to work them off."""
        self._runner.start()

    def close(self) -> None:
        """Stop working; what runs goes on at the next start."""
        self._runner.close()
        self.store.close()

    def folder(self, batch: Batch) -> Path:
        """Where a batch and its results lie."""
        return self._folders / batch.id

    def arriving(self) -> Path:
        """A new folder, for what is sent with a batch: to be given to `add`, or to be removed."""
        folder = self._folders / f"{ARRIVING}{uuid.uuid4().hex}"
        folder.mkdir()
        return folder

    def place(self, arrived: Path) -> Path:
        """Where a folder that `arriving` gave lies after `add`."""
        return self._folders / arrived.name.removeprefix(ARRIVING)

    def add(self, arrived: Path, order: Order, by: str | None) -> Batch:
        """Have a batch wait for its turn.

        Args:
            arrived: what `arriving` gave; it is the batch's folder from now on.
            order: what is to be done.
            by: name of the key.

        Raises:
            StoreUnavailable: it cannot be kept; the folder is where it was.
            OSError: likewise.
        """
        place = self.place(arrived)
        batch = Batch(
            id=place.name,
            state="queued",
            created=datetime.now(UTC),
            started=None,
            ended=None,
            by=by,
            order=order,
            progress=Progress(),
            is_cancelling=False,
            detail=None,
            n_lost=0,
        )
        arrived.rename(place)
        try:
            self.store.add(batch)
        except BaseException:
            place.rename(arrived)
            raise
        return batch


def open_batches(settings: Settings) -> Batches | None:
    """What the settings ask for; None where they ask for no batches.

    Raises:
        BatchesUnavailable: a package is missing, or a folder cannot be used.
        StoreUnavailable: the database cannot be used.
    """
    if settings.batches_dir is None:
        return None
    # Only now: a service without batches neither needs nor loads the packages of a database.
    _check_packages()
    from app.jobs.command import batch_command
    from app.jobs.runner import Runner
    from app.jobs.store import Store

    folders = _writable(settings.batches_dir.resolve())
    _check_root(settings.slides_dir)
    store = Store(settings.database_url or f"sqlite:///{folders / 'batches.sqlite'}")
    store.create()
    runner = Runner(store, folders, batch_command(settings))
    return Batches(folders, settings.slides_dir, store, runner)


def check_batches(settings: Settings) -> None:
    """Refuse a service that could not run the batches it is asked for; raises as `open_batches` does."""
    opened = open_batches(settings)
    if opened is not None:
        opened.store.close()


def _check_packages() -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise BatchesUnavailable(
            f"MARROWSCOPE_BATCHES_DIR is set, and batches need what is not installed: {', '.join(missing)}. "
            "Install it with `make batch` or `pip install marrowscope[batch]`."
        )


def _writable(folders: Path) -> Path:
    """The folder of all batches, made if need be, without what was left behind in it."""
    try:
        folders.mkdir(parents=True, exist_ok=True)
        for left in folders.glob(f"{ARRIVING}*"):
            if time.time() - left.stat().st_mtime > ABANDONED_S:
                shutil.rmtree(left, ignore_errors=True)
    except OSError as error:
        raise BatchesUnavailable(f"MARROWSCOPE_BATCHES_DIR: {error}") from error
    if not os.access(folders, os.W_OK | os.X_OK):
        raise BatchesUnavailable(f"MARROWSCOPE_BATCHES_DIR: {folders} cannot be written.")
    return folders


def _check_root(slides: Path | None) -> None:
    if slides is not None and not slides.is_dir():
        raise BatchesUnavailable(f"MARROWSCOPE_SLIDES_DIR: there is no folder {slides}.")
