"""Where a batch resumes: which batch a folder holds, and what of it is finished.

Every file is written whole (`app.files`) and says from which inputs it was made. There is no other record: to resume a
batch is to do the steps whose files are missing. A file that was made from other inputs counts as missing, and so does
one without its end, as a power cut may leave it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from zipfile import BadZipFile

from pydantic import ValidationError

from app.batch.analyse.cells import is_complete_tile
from app.batch.folder import BatchFolder, BatchManifest
from app.batch.plan.inputs import what_changed
from app.batch.plan.plan import Plan, read_plan
from app.batch.plan.tissue import read_overview
from app.batch.summary import SlideInputs, SlideSummary, read_summary
from app.files import remove_directory, remove_unfinished, write_whole
from app.pipeline.errors import InvalidParameter


class BatchRefused(InvalidParameter):
    """The batch cannot be run in this folder; the text says why."""


def begin_or_resume(folder: BatchFolder, batch: BatchManifest) -> None:
    """Begin a batch in a new folder, or make sure that the folder holds this very batch. The caller holds its lock.

    The patient and the files of regions and nuclei of a slide may have changed; then the manifest is written anew.

    Raises:
        BatchRefused: the folder holds another batch, or other files.
        OSError: the folder cannot be written.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder.path)
    remove_unfinished(folder.slides)
    if folder.manifest.exists():
        begun = _begun(folder)
        _check_same(folder, begun, batch)
        if begun == batch:
            return
    elif foreign := sorted(path.name for path in folder.path.iterdir() if not path.name.startswith(".")):
        raise BatchRefused(f"{folder.path} is not the folder of a batch and holds {foreign[0]}; choose another --out.")
    write_whole(batch.content(), folder.manifest)


def finished_slide(folder: BatchFolder, inputs: SlideInputs) -> SlideSummary | None:
    """Return the summary of a slide if all of its results exist in full length and are of these inputs; else None."""
    results = folder.results(inputs.slide)
    with suppress(OSError, ValueError):
        summary = read_summary(folder.summary(inputs.slide))
        if summary.inputs == inputs and all((results / name).stat().st_size == n for name, n in summary.files.items()):
            return summary
    return None


def discard_outdated(folder: BatchFolder, inputs: SlideInputs) -> str | None:
    """Remove what was made of a slide, unless it was made from these inputs.

    Returns:
        In a sentence, what has changed; None if nothing was there or nothing has changed.

    Raises:
        OSError: the folder of the slide cannot be removed.
    """
    outdated = next((before for before in _recorded(folder, inputs.slide) if before != inputs), None)
    if outdated is None:
        return None
    remove_directory(folder.results(inputs.slide))
    return what_changed(outdated, inputs)


def existing_plan(folder: BatchFolder, inputs: SlideInputs) -> Plan | None:
    """Return the plan of a slide if it was made from these inputs, and its overview is there; else None."""
    with suppress(OSError, ValueError, BadZipFile):
        read_overview(folder.overview(inputs.slide))
        plan = read_plan(folder.plan(inputs.slide))
        return plan if plan.inputs == inputs else None
    return None


def missing_tiles(folder: BatchFolder, plan: Plan) -> tuple[int, ...]:
    """Return the numbers of the tiles of a slide that are still to be analysed."""
    sha256 = plan.inputs.sha256
    paths = (folder.tile(plan.slide, number) for number in range(len(plan.tiles)))
    return tuple(number for number, path in enumerate(paths) if not is_complete_tile(path, sha256))


def _recorded(folder: BatchFolder, slide: str) -> Iterator[SlideInputs]:
    """Yield what the results and the plan of a slide were made from, as far as they exist."""
    with suppress(OSError, ValueError):
        yield read_summary(folder.summary(slide)).inputs
    with suppress(OSError, ValueError):
        yield read_plan(folder.plan(slide)).inputs


def _begun(folder: BatchFolder) -> BatchManifest:
    try:
        return BatchManifest.model_validate_json(folder.manifest.read_bytes())
    except ValidationError as error:
        raise BatchRefused(f"{folder.manifest} was not written by this version; choose another --out.") from error


def _check_same(folder: BatchFolder, begun: BatchManifest, batch: BatchManifest) -> None:
    before, now = _fixed(begun), _fixed(batch)
    different = [name for name in now if before[name] != now[name]]
    if different:
        raise BatchRefused(
            f"{folder.path} holds another batch, which differs in {', '.join(different)}: the results would mix. "
            "Repeat the command of that batch to go on with it, or choose another --out."
        )


def _fixed(batch: BatchManifest) -> dict[str, object]:
    """Return what may not change between two runs: all options and slides, and whether anything belongs to slides.

    An option that was forgotten must not cost the results of a whole cohort. Which regions, nuclei and patient a slide
    has may change: `discard_outdated` sees to it.
    """
    options = {name: getattr(batch, name) for name in BatchManifest.model_fields if name != "slides"}
    return {
        **options,
        "slides": [(one.slide, one.path) for one in batch.slides],
        "regions": any(one.regions for one in batch.slides),
        "nuclei": any(one.nuclei for one in batch.slides),
        "patients": any(one.patient for one in batch.slides),
    }
