"""Where a batch resumes: which batch a folder holds, and what of it is finished.

Every file is written whole (`app.files`), so a file that exists is a finished step. There is no other record: to resume
a batch is to do the steps whose files are missing. A power cut may still leave a file without its end, and such a file
counts as missing.
"""

from __future__ import annotations

from contextlib import suppress

from pydantic import ValidationError

from app.batch.analyse.cells import is_complete_tile
from app.batch.folder import BatchFolder, BatchManifest
from app.batch.plan.plan import Plan
from app.batch.summary import SlideSummary, read_summary
from app.files import remove_unfinished, write_whole
from app.pipeline.errors import InvalidParameter


class BatchRefused(InvalidParameter):
    """The batch cannot be run in this folder; the text says why."""


def begin_or_resume(folder: BatchFolder, batch: BatchManifest) -> None:
    """Begin a batch in a new folder, or make sure that the folder holds this very batch. The caller holds its lock.

    Raises:
        BatchRefused: the folder holds another batch, or other files.
        OSError: the folder cannot be written.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder.path)
    if folder.manifest.exists():
        _check_same(folder, batch)
        return
    foreign = sorted(path.name for path in folder.path.iterdir() if not path.name.startswith("."))
    if foreign:
        raise BatchRefused(f"{folder.path} is not the folder of a batch and holds {foreign[0]}; choose another --out.")
    write_whole((batch.model_dump_json(indent=2) + "\n").encode(), folder.manifest)


def existing_summary(folder: BatchFolder, slide: str) -> SlideSummary | None:
    """Return the summary of a slide, whose results then exist apart from the GeoJSON; None if it is missing."""
    with suppress(OSError, ValueError):
        return read_summary(folder.summary(slide))
    return None


def finished_slide(folder: BatchFolder, slide: str, batch: BatchManifest) -> SlideSummary | None:
    """Return the summary of a slide if all of its results exist; None if some are missing."""
    return existing_summary(folder, slide) if folder.geojson(slide, batch).exists() else None


def missing_tiles(folder: BatchFolder, plan: Plan) -> list[int]:
    """Return the numbers of the tiles of a slide that are still to be analysed."""
    return [number for number in range(len(plan.tiles)) if not is_complete_tile(folder.tile(plan.slide, number))]


def _check_same(folder: BatchFolder, batch: BatchManifest) -> None:
    try:
        begun = BatchManifest.model_validate_json(folder.manifest.read_bytes())
    except ValidationError as error:
        raise BatchRefused(f"{folder.manifest} was not written by this version; choose another --out.") from error
    different = [name for name in BatchManifest.model_fields if getattr(begun, name) != getattr(batch, name)]
    if different:
        raise BatchRefused(
            f"{folder.path} holds another batch, which differs in {', '.join(different)}: the results would mix. "
            "Repeat the command of that batch to go on with it, or choose another --out."
        )
