"""POST /bundles: a bundle that is adapted to the tiles of a laboratory; and GET /bundles/{name}/report."""

from __future__ import annotations

import errno
import logging
import secrets
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator
from pathlib import Path

from fastapi import Depends, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect

from app.adapt.adapted import Adapted
from app.adapt.fit import FEWEST_TILES, REPORT, adapt, check_source
from app.api.batch_form import DiskParser, FileOnDisk, safe_names
from app.api.batches import REPORT_HEADERS
from app.api.bundles import AnalyzerDep
from app.api.http.keys import keyed_router
from app.api.http.limits import MAX_ADAPTATION_TILES
from app.api.http.parameters import suggestion
from app.api.http.problems import declare
from app.files import UNFINISHED
from app.pipeline.bundle.load import Bundle, bundle_directory
from app.pipeline.errors import InvalidBundle, InvalidParameter, TileTooLarge, UnsuitableTiles
from app.pipeline.headers.inputs import MPP_RANGE
from app.pipeline.manifest import NAME_PATTERN
from app.service import Analyzer, Busy, TookTooLong
from app.settings import Settings

log = logging.getLogger(__name__)

TILES = "tiles"
TILES_PER_TIME_LIMIT = 5
"""So many tiles are adapted to within the time limit of one analysis: each is analysed three times, and looked at."""


class AdaptationForm(BaseModel):
    """Fields of the form that are not files."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str = Field(
        pattern=NAME_PATTERN,
        description="Name of the new bundle: up to 64 small letters, digits, - and _. If there is such a bundle, it "
        "must have been adapted from the same source, and gets a new version.",
    )
    source: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        description="Name of the bundle to adapt. Without it, the service's default bundle is adapted.",
    )
    mpp: float | None = Field(
        default=None,
        ge=MPP_RANGE[0],
        le=MPP_RANGE[1],
        description="Scale of every tile in µm per pixel, 0.05 to 4. Without it, each file says its own scale, or else "
        "that of the bundle is taken.",
    )


_FIELDS = AdaptationForm.model_json_schema()["properties"]
SCHEMA = {
    "type": "object",
    "properties": {
        TILES: {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "minItems": FEWEST_TILES,
            "maxItems": MAX_ADAPTATION_TILES,
            "description": "Unlabelled H&E tiles of one laboratory as PNG, JPEG or TIFF, 3 to 50; ten or more are "
            "wanted, of several slides and days of staining.",
        },
        "name": _FIELDS["name"],
        # A form cannot hold null.
        **{
            field: {**_FIELDS[field]["anyOf"][0], "description": _FIELDS[field]["description"]}
            for field in ("source", "mpp")
        },
    },
    "required": [TILES, "name"],
    "additionalProperties": False,
}
"""The form as openapi.json declares it, with its files."""


class AdaptedOut(BaseModel):
    """The answer of POST /bundles: the new bundle, and what came of adapting it."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    name: str = Field(description="Name of the new bundle, under which it answers from now on.")
    version: str = Field(description="Version of the new bundle: 1, or the number after that of the bundle before.")
    sha256: str = Field(
        pattern="^[0-9a-f]{64}$", description="SHA-256 of the new bundle's manifest, which has that of each file."
    )
    source: str = Field(description="Name of the bundle that was adapted.")
    source_version: str = Field(description="Version of the bundle that was adapted.")
    tiles: int = Field(ge=FEWEST_TILES, description="Number of tiles that it was adapted to.")
    warnings: list[str] = Field(
        description="What speaks against relying on the new bundle, in whole sentences; empty if nothing does."
    )
    flags_before: dict[str, int] = Field(
        description="How many of the tiles have each flag with the bundle that was adapted, by the code of the flag."
    )
    flags_after: dict[str, int] = Field(
        description="How many of the tiles have each flag with the new bundle, by the code of the flag."
    )
    report: str = Field(
        description="Address of the report in HTML, relative to that of the request (GET /bundles/{name}/report)."
    )


def check_adapts(request: Request) -> None:
    """Check that this service may write bundles.

    Raises:
        HTTPException: 404, it may not.
    """
    settings: Settings = request.app.state.settings
    if not settings.writes_bundles:
        raise HTTPException(
            404,
            "This service adapts no bundles: it was started without MARROWSCOPE_TAUGHT_DIR. "
            "`marrowscope bundle adapt` adapts one in the shell.",
        )


router = keyed_router(404, tags=["bundles"])


@router.post(
    "/bundles",
    status_code=202,
    response_description="The bundle was written and answers from now on. The header Location shows it.",
    responses=declare(400, 408, 413, 415, 504),
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": SCHEMA}}}},
    dependencies=[Depends(check_adapts)],
)
async def adapt_bundle(request: Request, response: Response, analyzer: AnalyzerDep) -> AdaptedOut:
    """Adapt a bundle to the stain and scanner of a laboratory, from its unlabelled tiles, and write a report.

    It takes about three seconds for each tile. The new bundle is served at once, by this process, and within seconds
    by all others on the same folders of bundles. One adaptation runs at a time. The service keeps no tile, but the
    report holds pictures of parts of up to four.
    """
    settings: Settings = request.app.state.settings
    folder = settings.bundle_folders[-1] / f"{UNFINISHED}{secrets.token_hex(8)}-tiles"
    left = threading.Event()
    try:
        await run_in_threadpool(folder.mkdir, parents=True)
        form, tiles = await read_form(request, folder, settings.max_bytes)
        source = _source(analyzer, form.source)
        adapted = await _alone(request, lambda: _on_worker(analyzer, settings, source, form, tiles, left))
    except OSError as error:
        raise _unwritable(error) from error
    finally:
        # A worker that is still at it finds out before the next tile, and writes nothing.
        left.set()
        await run_in_threadpool(shutil.rmtree, folder, ignore_errors=True)
    analyzer.bundle(form.name)  # It is served, this version or one that somebody has written meanwhile.
    request.state.reviewed = {"n_tiles": len(tiles)}
    response.headers["Location"] = f"bundles/{form.name}"
    return AdaptedOut(
        name=form.name,
        version=adapted.manifest.version,
        sha256=adapted.sha256,
        source=source.manifest.name,
        source_version=source.manifest.version,
        tiles=len(tiles),
        warnings=list(adapted.warnings),
        flags_before=dict(sorted(adapted.before.flags.items())),
        flags_after=dict(sorted(adapted.after.flags.items())),
        report=f"bundles/{form.name}/report",
    )


@router.get(
    "/bundles/{name}/report",
    response_class=Response,
    response_description="The report, a page of HTML.",
    responses={200: {"content": {"text/html": {"schema": {"type": "string"}}}}},
)
async def report(analyzer: AnalyzerDep, name: str) -> Response:
    """Show the report of a bundle that was adapted: what differs, and which flags and labels the tiles had and have."""
    path = analyzer.bundle(name).directory / REPORT
    try:
        page = await run_in_threadpool(path.read_bytes)
    except FileNotFoundError as error:
        raise HTTPException(
            404, f"The bundle {name} has no report; only bundles that were adapted have one."
        ) from error
    except OSError as error:
        raise HTTPException(503, f"The report of the bundle {name} cannot be read.") from error
    return Response(page, media_type="text/html", headers=REPORT_HEADERS)


async def read_form(request: Request, folder: Path, max_bytes: int) -> tuple[AdaptationForm, list[Path]]:
    """Read the body of POST /bundles.

    Args:
        request: the request, whose body was not read yet.
        folder: gets the tiles. If this raises, it holds an unfinished upload.
        max_bytes: the largest tile, in bytes.

    Returns:
        The fields, and the files of the tiles, named as the client named them as far as that is safe.

    Raises:
        HTTPException: the form is refused with 400, 408, 413, 415, 422 or 503.
        UnsuitableTiles: the tiles are too few.
        TileTooLarge: a tile has too many bytes; the text names it.
        OSError: the disk is full, or cannot be written.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise HTTPException(415, f"The body must be multipart/form-data with files in the field `{TILES}`.")
    try:
        # One more than is right, so that the refusal can say what is wrong.
        parser = DiskParser(request, folder, MAX_ADAPTATION_TILES + 1, len(AdaptationForm.model_fields) + 1)
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, error.message) from error
    except ClientDisconnect as error:
        raise HTTPException(400, "The body ended before it was complete.") from error
    fields = _fields(form)
    # A browser sends an empty file without a name if none was chosen.
    sent = [file for file in form.getlist(TILES) if isinstance(file, FileOnDisk) and file.filename]
    if len(sent) > MAX_ADAPTATION_TILES:
        raise HTTPException(422, f"The field `{TILES}` may have at most {MAX_ADAPTATION_TILES} files; send fewer.")
    if len(sent) < FEWEST_TILES:
        raise UnsuitableTiles(f"At least {FEWEST_TILES} files are needed in the field `{TILES}`; found {len(sent)}.")
    return fields, await run_in_threadpool(_named, sent, folder, max_bytes)


def _fields(form: FormData) -> AdaptationForm:
    given: dict[str, str] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile) != (name == TILES):
            kind = "a file" if isinstance(value, UploadFile) else "text"
            known = f"files are {TILES}, and text {', '.join(AdaptationForm.model_fields)}"
            raise HTTPException(400, f"The field `{name[:80]}` may not be {kind}; {known}.")
        if isinstance(value, str):
            if name in given:
                raise HTTPException(400, f"The field `{name[:80]}` may be given only once.")
            given[name] = value
    try:
        return AdaptationForm.model_validate(given)
    except ValidationError as error:
        raise HTTPException(422, _wrong_field(error)) from error


def _wrong_field(error: ValidationError) -> str:
    first = error.errors()[0]
    name = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        return f"There is no form field {suggestion(name, (TILES, *AdaptationForm.model_fields))}"
    if first["type"] == "missing":
        return f"The form needs the field `{name}`."
    if first["type"] == "string_pattern_mismatch":
        return (
            f"{first['input']!r:.80} is no name for a bundle: use up to 64 small letters, digits, - and _, and begin "
            "with a letter or digit."
        )
    return f"Field {name}: {first['msg']}, found {first['input']!r:.80}."


def _named(sent: list[FileOnDisk], folder: Path, max_bytes: int) -> list[Path]:
    """Give the files of a form their names, so that errors can name them, and return their paths."""
    tiles = []
    (folder / TILES).mkdir()
    for file, name in zip(sent, safe_names([file.filename or "" for file in sent]), strict=True):
        if (n_bytes := file.path.stat().st_size) > max_bytes:
            raise TileTooLarge(f"{name}: a tile may have at most {max_bytes} bytes, found {n_bytes}.")
        tiles.append(file.path.rename(folder / TILES / name))
    return tiles


def _source(analyzer: Analyzer, name: str | None) -> Bundle:
    """Return the bundle to adapt.

    Raises:
        ServiceError: there is no such bundle, or it cannot be served.
        InvalidParameter: it cannot be adapted.
    """
    source = analyzer.bundle(name)
    try:
        check_source(source.manifest)
    except InvalidBundle as error:
        raise InvalidParameter(str(error)) from error
    return source


async def _alone(request: Request, call: Callable[[], Awaitable[Adapted]]) -> Adapted:
    """Run one adaptation at a time, so that the other workers stay free for analyses.

    Raises:
        Busy: another one runs.
    """
    state = request.app.state
    if state.is_adapting:
        raise Busy("Another bundle is being adapted at this moment; try again in a few minutes.")
    state.is_adapting = True
    try:
        return await call()
    finally:
        state.is_adapting = False


async def _on_worker(
    analyzer: Analyzer,
    settings: Settings,
    source: Bundle,
    form: AdaptationForm,
    tiles: list[Path],
    left: threading.Event,
) -> Adapted:
    """Adapt on a worker, and let the service load the new bundle.

    Args:
        analyzer: the service.
        settings: the limits, and the folders of the bundles.
        source: the bundle to adapt.
        form: the name and the scale.
        tiles: the files of the tiles.
        left: is set when nobody waits any more; the worker then stops.
    """
    target = bundle_directory(form.name, settings.bundle_folders)

    def track(paths: Iterable[Path]) -> Iterator[Path]:
        for path in paths:
            if left.is_set():
                raise TookTooLong("Nobody waits for this adaptation any more.")
            yield path

    def adapted() -> Adapted:
        try:
            found = adapt(tiles, source, target, mpp=form.mpp, track=track, max_pixels=settings.max_pixels)
        except InvalidParameter as error:  # The text is also for the shell, and has the path.
            raise InvalidParameter(str(error).replace(str(target), f"A bundle '{form.name}'")) from error
        except InvalidBundle as error:
            log.error("a bundle cannot be adapted: %s", error)
            raise HTTPException(503, f"{error} No bundle was written.") from error
        analyzer.load_new()
        return found

    limit_s = settings.time_limit_s * max(1.0, len(tiles) / TILES_PER_TIME_LIMIT)
    try:
        return await analyzer.work(adapted, limit_s)
    except TookTooLong as error:
        raise TookTooLong(
            f"Adapting to {len(tiles)} tiles took longer than {limit_s:g} s, and no bundle was written; send fewer "
            "tiles, or smaller ones."
        ) from error


def _unwritable(error: OSError) -> HTTPException:
    log.error("an adapted bundle cannot be written: %s", error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return HTTPException(503, "The disk of the bundles is full; no bundle was written.")
    return HTTPException(
        503,
        "The service cannot write to its folder of taught bundles (MARROWSCOPE_TAUGHT_DIR, or without it "
        "MARROWSCOPE_BUNDLES_DIR); no bundle was written.",
    )
