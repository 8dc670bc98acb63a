"""The form of POST /batches: its files go to the disk as they come, and never into memory."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path

from fastapi import HTTPException, Request
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from app.api.batch_schemas import MAX_TILES, BatchForm
from app.jobs.folder import PATIENTS, REGIONS, TILES
from app.pipeline.inputs import TILE_SUFFIXES

SINGLE_FILE_SUFFIXES = (*TILE_SUFFIXES, ".svs", ".ndpi", ".scn", ".svslide", ".bif", ".czi")
"""Slides and tiles that are one file each."""
ANSWERS = (".overlay.png", ".labels.png", ".stages.png")
"""Pictures that `marrowscope analyze` made; a batch leaves them out."""
REGION_SUFFIXES = (".geojson", ".json", ".geojson.gz")
FILE_FIELDS = ("tiles", "regions", "patients")
MAX_NAME, MAX_SUFFIX = 60, 20
"""Characters of a file's name that are kept: disks take 255 bytes, and a letter may have four."""


class _FileOnDisk(UploadFile):
    """A file of the form: opened for each piece, so that a thousand of them hold none open."""

    def __init__(self, path: Path, filename: str, headers: Headers) -> None:
        super().__init__(io.BytesIO(), size=0, filename=filename, headers=headers)
        self.path = path
        path.touch(exist_ok=False)

    async def write(self, data: bytes) -> None:
        """Add a piece."""
        await run_in_threadpool(self._append, data)

    def _append(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)


class _BatchParser(MultiPartParser):
    """Starlette's parser, which writes to a folder.

    Args:
        request: whose body is read.
        folder: gets the files, under numbers.
    """

    def __init__(self, request: Request, folder: Path) -> None:
        super().__init__(
            request.headers,
            request.stream(),
            max_files=2 * MAX_TILES + 1,
            max_fields=len(BatchForm.model_fields) + 1,
            max_part_size=4096,
        )
        self._folder = folder

    def on_headers_finished(self) -> None:
        """Called when the head of a part is there."""
        super().on_headers_finished()
        held = self._current_part.file
        if held is not None:
            held.file.close()
            path = self._folder / str(self._current_files)
            self._current_part.file = _FileOnDisk(path, held.filename or "", held.headers)


async def read_batch_form(request: Request, folder: Path) -> BatchForm:
    """Read the body of POST /batches.

    Args:
        request: whose body is not read yet.
        folder: of the batch. It gets tiles/, regions/ and patients.csv, as far as they were sent; what is in it when
            this raises is not to be used.

    Returns:
        The other fields.

    Raises:
        HTTPException: 400, 408, 413, 415, 422, 503.
        OSError: the disk is full, or cannot be written.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise HTTPException(415, "The body must be multipart/form-data with `path` or the files `tiles`.")
    try:
        form = await _BatchParser(request, folder).parse()
    except MultiPartException as error:
        raise HTTPException(400, error.message) from error
    except ClientDisconnect as error:
        raise HTTPException(400, "The body ended before it was whole.") from error
    fields = _fields(form)
    files = {name: _files(form, name) for name in FILE_FIELDS}
    if (fields.path is None) == (not files["tiles"]):
        raise HTTPException(422, "Either the field `path` or files in the field `tiles` are needed, and not both.")
    await run_in_threadpool(_sort, folder, files)
    return fields


def _fields(form: FormData) -> BatchForm:
    items = form.multi_items()
    for name, value in items:
        if isinstance(value, UploadFile) != (name in FILE_FIELDS):
            kind = "a file" if isinstance(value, UploadFile) else "text"
            known = f"files are {', '.join(FILE_FIELDS)}, and text {', '.join(BatchForm.model_fields)}"
            raise HTTPException(400, f"The field `{name[:80]}` may not be {kind}; {known}.")
    given = {name: value for name, value in items if not isinstance(value, UploadFile)}
    if len(given) != sum(not isinstance(value, UploadFile) for _, value in items):
        raise HTTPException(400, "A field that is no file may be given once.")
    try:
        return BatchForm.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise HTTPException(422, f"Field {first['loc'][0]}: {first['msg']}, found {first['input']!r:.80}.") from error


def _files(form: FormData, name: str) -> list[_FileOnDisk]:
    """Those of one field; a browser sends an empty one without a name where none was chosen."""
    found = [value for value in form.getlist(name) if isinstance(value, _FileOnDisk) and value.filename]
    most = 1 if name == "patients" else MAX_TILES
    if len(found) > most:
        raise HTTPException(422, f"The field `{name}` may have at most {most} files, found {len(found)}.")
    return found


def _sort(folder: Path, files: dict[str, list[_FileOnDisk]]) -> None:
    """Give each file its place and name."""
    places = {"tiles": (TILES, SINGLE_FILE_SUFFIXES), "regions": (REGIONS, REGION_SUFFIXES)}
    for field, (place, suffixes) in places.items():
        if files[field]:
            (folder / place).mkdir()
        names = safe_names([file.filename or "" for file in files[field]])
        for file, name in zip(files[field], names, strict=True):
            if not name.lower().endswith(suffixes) or name.lower().endswith(ANSWERS):
                wanted = ", ".join(suffixes)
                raise HTTPException(422, f"A file in `{field}` must be one of {wanted}, found {file.filename!r:.80}.")
            file.path.rename(folder / place / name)
    for file in files["patients"]:
        file.path.rename(folder / PATIENTS)
    for left in folder.iterdir():
        if left.name.isdecimal():  # without a name
            left.unlink()


def safe_names(given: Sequence[str]) -> list[str]:
    """Names for files that are safe on every disk, and differ even where upper and lower case do not.

    Args:
        given: as a client says, folders and all.

    Returns:
        One for each: letters, digits and ._- of its last part; a number is added where it was given before.
    """
    names: list[str] = []
    used: set[str] = set()
    for name in given:
        stem, suffix = _cleaned(name)
        numbered = (f"{stem}-{number}{suffix}" for number in count(2))
        names.append(next(unique for unique in chain([f"{stem}{suffix}"], numbered) if unique.casefold() not in used))
        used.add(names[-1].casefold())
    return names


def _cleaned(name: str) -> tuple[str, str]:
    """Stem and suffix, the dot with the suffix."""
    last = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    kept = re.sub(r"[^\w.-]", "_", last).lstrip(".-")
    at = re.search(r"\.geojson\.gz$|\.[^.]*$", kept, re.IGNORECASE)
    cut = at.start() if at else len(kept)
    return kept[:cut][:MAX_NAME] or "file", kept[cut:][:MAX_SUFFIX]
