"""The form of POST /batches, whose files are written to the disk as they arrive and never held in memory."""

from __future__ import annotations

import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Annotated

from fastapi import HTTPException, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect

from app.api.http.forms import FormParser
from app.api.http.parameters import suggestion
from app.cohort.regions import SUFFIXES as REGION_SUFFIXES
from app.jobs.folder import PATIENTS, REGIONS, TILES
from app.pipeline.errors import InvalidParameter
from app.pipeline.headers.inputs import (
    MPP_RANGE,
    PICTURE_SUFFIXES,
    SEVERAL_FILES_SUFFIXES,
    SLIDE_SUFFIXES,
    TILE_SUFFIXES,
    FrameName,
)
from app.pipeline.measure.table import check_measurement
from app.pipeline.networks.backend import Precision

MAX_TILES = 1000
"""Largest number of files of one upload. A folder that is named by `path` may hold more."""
SINGLE_FILE_SUFFIXES = (*TILE_SUFFIXES, *(each for each in SLIDE_SUFFIXES if each not in SEVERAL_FILES_SUFFIXES))
"""Suffixes of slides and tiles that are one file each."""
FILE_FIELDS = ("tiles", "regions", "patients")
MAX_NAME, MAX_SUFFIX = 60, 20
"""Characters of a file's name that are kept. Disks take 255 bytes, and one character may have four."""


def _checked(name: str | None) -> str | None:
    try:
        return check_measurement(name)
    except InvalidParameter as error:
        raise ValueError(str(error)) from error


class BatchForm(BaseModel):
    """Fields of the form that are not files."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="File, folder or pattern of slides and tiles, below the root that the service was started with.",
    )
    bundle: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Name of a bundle. Without it, the service's default bundle is used.",
    )
    mpp: float | None = Field(
        default=None,
        ge=MPP_RANGE[0],
        le=MPP_RANGE[1],
        description="Scale of every slide in µm per pixel, 0.05 to 4. Without it, each file says its own scale.",
    )
    frame: FrameName = Field(
        default="bounds",
        description="What the coordinates of results and regions count from: `bounds` is the scanned part of a slide, "
        "which QuPath shows, or the canvas where the file states no bounds; `canvas` is the whole canvas.",
    )
    precision: Precision = Field(
        default="fast", description="Precision of the network that sorts the cells, as in POST /analyze."
    )
    map: Annotated[str | None, AfterValidator(_checked)] = Field(
        default=None,
        description="Name of a measurement, such as area or chromatin_contrast. Its mean over each slide is drawn as a "
        "map, and written as numbers. Without it, there is none.",
    )


_FILES = {"type": "array", "items": {"type": "string", "format": "binary"}}
SCHEMA = {
    "type": "object",
    "properties": {
        **BatchForm.model_json_schema()["properties"],
        "tiles": {
            **_FILES,
            "minItems": 1,
            "maxItems": MAX_TILES,
            "description": "Slides and tiles, each a file. Either this field or `path` is needed.",
        },
        "regions": {
            **_FILES,
            "maxItems": MAX_TILES,
            "description": "Annotations as GeoJSON: one file for one slide, or one file for each slide, named as the "
            "slide is (a.geojson for a.svs, p1/a.geojson for p1/a.svs).",
        },
        "patients": {
            "type": "string",
            "format": "binary",
            "description": "Table of patients as CSV, with the columns slide and patient. A slide is named by its file "
            "as it was sent, or by a path that ends so, with or without the ending. A name that several slides have is "
            "refused.",
        },
    },
    "oneOf": [{"required": ["path"]}, {"required": ["tiles"]}],
    "additionalProperties": False,
}
"""The form as openapi.json declares it, with its files."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent with POST /batches.

    Attributes:
        fields: the fields of the form that are not files.
        tiles: for each file in tiles/ the name that the client gave it, which may hold folders.
        regions: for each file in regions/ the name that the client gave it.
    """

    fields: BatchForm
    tiles: Mapping[str, str]
    regions: Mapping[str, str]


class FileOnDisk(UploadFile):
    """A file of the form. It is opened for each piece, so that a form of a thousand files holds none open."""

    def __init__(self, path: Path, filename: str, headers: Headers) -> None:
        super().__init__(io.BytesIO(), size=0, filename=filename, headers=headers)
        self.path = path
        path.touch(exist_ok=False)

    async def write(self, data: bytes) -> None:
        """Append a piece of the file."""
        await run_in_threadpool(self._append, data)

    def _append(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)


class DiskParser(FormParser):
    """The parser of forms, made to write the files into a folder.

    Args:
        request: the request whose body is read.
        folder: gets the files, each named by its number.
        max_files: most files of the form.
        max_fields: most parts of the form that are no files.
    """

    def __init__(self, request: Request, folder: Path, max_files: int, max_fields: int) -> None:
        super().__init__(
            request.headers, request.stream(), max_files=max_files, max_fields=max_fields, max_part_size=4096
        )
        self._folder = folder

    def on_headers_finished(self) -> None:
        """Begin a part of the form; the parser calls this when the part's head has arrived."""
        super().on_headers_finished()
        held = self._current_part.file
        if held is not None:
            held.file.close()
            path = self._folder / str(self._current_files)
            self._current_part.file = FileOnDisk(path, held.filename or "", held.headers)


async def read_batch_form(request: Request, folder: Path) -> Sent:
    """Read the body of POST /batches.

    Args:
        request: the request, whose body was not read yet.
        folder: the folder of the batch. It gets tiles/, regions/ and patients.csv, if they were sent. If this raises,
            the folder holds an unfinished upload.

    Returns:
        What was sent; the files are in the folder.

    Raises:
        HTTPException: the form is refused with 400, 408, 413, 415, 422 or 503.
        OSError: the disk is full, or cannot be written.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise HTTPException(415, "The body must be multipart/form-data with `path` or the files `tiles`.")
    try:
        form = await DiskParser(request, folder, 2 * MAX_TILES + 1, len(BatchForm.model_fields) + 1).parse()
    except MultiPartException as error:
        raise HTTPException(400, error.message) from error
    except ClientDisconnect as error:
        raise HTTPException(400, "The body ended before it was complete.") from error
    fields = _fields(form)
    files = {name: _files(form, name) for name in FILE_FIELDS}
    if (fields.path is None) == (not files["tiles"]):
        raise HTTPException(422, "The form needs either the field `path` or files in the field `tiles`, and not both.")
    names = await run_in_threadpool(_sort, folder, files)
    return Sent(fields, names["tiles"], names["regions"])


def _fields(form: FormData) -> BatchForm:
    items = form.multi_items()
    for name, value in items:
        if isinstance(value, UploadFile) != (name in FILE_FIELDS):
            kind = "a file" if isinstance(value, UploadFile) else "text"
            known = f"files are {', '.join(FILE_FIELDS)}, and text {', '.join(BatchForm.model_fields)}"
            raise HTTPException(400, f"The field `{name[:80]}` may not be {kind}; {known}.")
    given = {name: value for name, value in items if not isinstance(value, UploadFile)}
    if len(given) != sum(not isinstance(value, UploadFile) for _, value in items):
        raise HTTPException(400, "A field that is not a file may be given only once.")
    try:
        return BatchForm.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        if first["type"] == "extra_forbidden":
            unknown = suggestion(str(first["loc"][0]), (*BatchForm.model_fields, *FILE_FIELDS))
            raise HTTPException(422, f"There is no form field {unknown}") from error
        raise HTTPException(422, f"Field {first['loc'][0]}: {first['msg']}, found {first['input']!r:.80}.") from error


def _files(form: FormData, name: str) -> list[FileOnDisk]:
    """Return the files of one field. A browser sends an empty file without a name if none was chosen."""
    found = [value for value in form.getlist(name) if isinstance(value, FileOnDisk) and value.filename]
    most = 1 if name == "patients" else MAX_TILES
    if len(found) > most:
        raise HTTPException(422, f"The field `{name}` may have at most {most} files, found {len(found)}.")
    return found


def _sort(folder: Path, files: dict[str, list[FileOnDisk]]) -> dict[str, dict[str, str]]:
    """Move each file to its place in the folder; return for tiles and regions the given name of each file there."""
    given: dict[str, dict[str, str]] = {}
    places = {"tiles": (TILES, SINGLE_FILE_SUFFIXES), "regions": (REGIONS, REGION_SUFFIXES)}
    for field, (place, suffixes) in places.items():
        if files[field]:
            (folder / place).mkdir()
        names = safe_names([file.filename or "" for file in files[field]])
        given[field] = {name: file.filename or "" for file, name in zip(files[field], names, strict=True)}
        for file, name in zip(files[field], names, strict=True):
            if not name.lower().endswith(suffixes) or name.lower().endswith(PICTURE_SUFFIXES):
                wanted = ", ".join(suffixes)
                raise HTTPException(422, f"A file in `{field}` must be one of {wanted}, found {file.filename!r:.80}.")
            file.path.rename(folder / place / name)
    for file in files["patients"]:
        file.path.rename(folder / PATIENTS)
    for left in folder.iterdir():
        if left.name.isdecimal():  # It is an empty file without a name.
            left.unlink()
    return given


def safe_names(given: Sequence[str]) -> list[str]:
    """Return names of files that are safe on every disk, and differ even where the disk ignores case.

    Args:
        given: the names that a client gave, which may hold folders.

    Returns:
        One name for each: the letters, digits and ._- of its last part, with a number added if it was used before.
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
    """Return the safe stem and suffix of a name; the dot belongs to the suffix."""
    last = unicodedata.normalize("NFC", re.split(r"[/\\]", name)[-1])
    kept = re.sub(r"[^\w.-]", "_", last).lstrip(".-")
    at = re.search(r"\.geojson\.gz$|\.[^.]*$", kept, re.IGNORECASE)
    cut = at.start() if at else len(kept)
    return kept[:cut][:MAX_NAME] or "file", kept[cut:][:MAX_SUFFIX]
