"""The inputs of a slide: what its results are made from, read from the disk as it is now."""

from __future__ import annotations

import hashlib
from pathlib import Path

from app.batch.folder import BatchManifest, BatchSlide
from app.batch.read.fingerprint import fingerprint
from app.batch.read.slide import SlideError
from app.batch.summary import SlideInputs

WORDS = {"fingerprint": "file", "regions_sha256": "regions", "nuclei_sha256": "nuclei", "patient": "patient"}
"""What a user calls the inputs that can change between two runs of one batch."""


class SlideChanged(SlideError):
    """The slide, its regions, its nuclei or its batch became another while it was analysed."""

    def __init__(self) -> None:
        super().__init__("Its file, its regions or its nuclei changed while it was analysed; give the command again.")


def inputs_of(source: BatchSlide, batch: BatchManifest) -> SlideInputs:
    """Return what the results of a slide depend on, as it is now.

    Args:
        source: which slide of the batch it is.
        batch: what the batch is to do.

    Raises:
        SlideError: the regions or the nuclei cannot be read, or there are none for the slide.
        OSError: the slide cannot be read.
    """
    path = Path(source.path)
    found = fingerprint(path)
    return SlideInputs(
        slide=source.slide,
        file=path.name,
        bytes=found.n_bytes,
        fingerprint=found.sha256,
        regions_sha256=_sha256(regions_of(source), "regions"),
        nuclei_sha256=_sha256(nuclei_of(source), "nuclei"),
        patient=source.patient,
        **batch.model_dump(include=set(SlideInputs.model_fields)),
    )


def regions_of(source: BatchSlide) -> Path | None:
    """Return the file with the regions of a slide; None if the whole slide is analysed.

    Raises:
        SlideError: the folder of regions has no file for the slide.
    """
    return _belonging(source.regions, "regions")


def nuclei_of(source: BatchSlide) -> Path | None:
    """Return the file with the nuclei of a slide that another program has found; None if the bundle finds them.

    Raises:
        SlideError: the folder of nuclei has no file for the slide.
    """
    return _belonging(source.nuclei, "nuclei")


def what_changed(before: SlideInputs, now: SlideInputs) -> str:
    """Say in a sentence why results are of no more use.

    Args:
        before: what they were made from.
        now: what they are to be made from, which differs.
    """
    names = [WORDS.get(name, name) for name in SlideInputs.model_fields if getattr(before, name) != getattr(now, name)]
    named = [name for name in names if name in WORDS.values()] or names
    return f"Its {' and its '.join(named)} changed, so its earlier results were discarded."


def _belonging(name: str | None, kind: str) -> Path | None:
    if name is None:
        return None
    path = Path(name)
    if not path.exists():
        raise SlideError(f"The folder of {kind} has no {path.name} for it.")
    return path


def _sha256(path: Path | None, kind: str) -> str | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise SlideError(f"The {kind} in {path.name} cannot be read: {error.strerror or error}.") from error
