"""The batches of a service: their database, their folders, and the thread that runs them."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from app.files import sync_all, sync_folder
from app.jobs.batch import Batch, BatchesUnavailable, Order
from app.jobs.progress import Progress
from app.settings import Settings

if TYPE_CHECKING:
    from app.jobs.runner import Runner
    from app.jobs.store import Store

NEEDED = ("dask", "distributed", "matplotlib", "openslide", "pyarrow", "shapely", "tifffile")
"""The packages of the extra `batch`."""
ARRIVING = ".arriving-"
"""The name of a folder begins with this until its upload is complete."""
ABANDONED_S = 24 * 3600
"""After this time without a change, in seconds, an upload is taken to be abandoned, and its folder is removed."""


class Batches:
    """The batches of a service.

    Args:
        folders: the absolute path of the folder that holds the folder of each batch.
        slides: the folder below which a batch may name slides; None means that it must send them.
        store: the database.
        runner: the thread that runs the batches.
    """

    def __init__(self, folders: Path, slides: Path | None, store: Store, runner: Runner) -> None:
        self.slides = slides
        self.store = store
        self._folders = folders
        self._runner = runner

    def start(self) -> None:
        """Start to run the batches."""
        self._runner.start()

    def close(self) -> None:
        """Stop; a batch that runs goes on when a service is started again."""
        self._runner.close()
        self.store.close()

    def folder(self, batch: Batch) -> Path:
        """Return the folder of a batch."""
        return self._folders / batch.id

    def arriving(self) -> Path:
        """Make a folder for the files of a new batch. The caller gives it to `add`, or removes it."""
        folder = self._folders / f"{ARRIVING}{uuid.uuid4().hex}"
        folder.mkdir()
        return folder

    def place(self, arrived: Path) -> Path:
        """Return the path that a folder from `arriving` will have after `add`."""
        return self._folders / arrived.name.removeprefix(ARRIVING)

    def add(self, arrived: Path, order: Order, by: str | None) -> Batch:
        """Put a new batch at the end of the queue.

        Args:
            arrived: a folder from `arriving`; it becomes the folder of the batch.
            order: what the batch is to do.
            by: the name of the client's key; None if the service asks for no key.

        Raises:
            StoreUnavailable, OSError: the batch cannot be kept; the folder has not moved.
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
        # The row must not outlive its files in a power cut: half a table of patients looks like a whole one.
        sync_all(arrived)
        arrived.rename(place)
        try:
            sync_folder(self._folders)
            self.store.add(batch)
        except BaseException:
            place.rename(arrived)
            raise
        return batch


def open_batches(settings: Settings) -> Batches | None:
    """Return the batches of a service, or None if its settings ask for none.

    Raises:
        BatchesUnavailable: a package is missing, or a folder cannot be used.
        StoreUnavailable: the database cannot be used.
    """
    if settings.batches_dir is None:
        return None
    # These are imported late, because a service without batches neither needs nor loads the packages of a database.
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
    """Check that a service can run the batches that its settings ask for; raises what `open_batches` raises."""
    opened = open_batches(settings)
    if opened is not None:
        opened.store.close()


def _check_packages() -> None:
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise BatchesUnavailable(
            f"MARROWSCOPE_BATCHES_DIR is set, but batches need packages that are not installed: {', '.join(missing)}. "
            "Install them with `make batch` or `pip install marrowscope[batch]`."
        )


def _writable(folders: Path) -> Path:
    """Make the folder of all batches if it does not exist, and remove abandoned uploads from it."""
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
