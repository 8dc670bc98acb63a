"""The endpoints of batches."""

from __future__ import annotations

import errno
import logging
import re
import shutil
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.api.batch_files import RESULT_CONTENT, ResultResponse
from app.api.batch_schemas import MAX_TILES, BatchesOut, BatchForm, BatchOut, batch_out, batch_summary
from app.api.batch_uploads import read_batch_form
from app.api.keys import KeyedRoute, api_key
from app.api.problems import declare
from app.jobs.batch import Batch, Order, Parameters
from app.jobs.batches import Batches
from app.jobs.folder import PATIENTS, REGIONS, TILES, result_file, result_files
from app.jobs.slides_root import find_under
from app.service import Analyzer

log = logging.getLogger(__name__)

FILES = {"type": "array", "items": {"type": "string", "format": "binary"}}
FORM = {
    "type": "object",
    "properties": {
        **BatchForm.model_json_schema()["properties"],
        "tiles": {
            **FILES,
            "minItems": 1,
            "maxItems": MAX_TILES,
            "description": "slides and tiles, each a file; or `path`",
        },
        "regions": {
            **FILES,
            "maxItems": MAX_TILES,
            "description": "GeoJSON of annotations: one file for one slide, or one named for each (a.svs: a.geojson)",
        },
        "patients": {"type": "string", "format": "binary", "description": "CSV with the columns slide and patient"},
    },
    "oneOf": [{"required": ["path"]}, {"required": ["tiles"]}],
    "additionalProperties": False,
}


def get_batches(request: Request) -> Batches:
    """Those of this service.

    Raises:
        HTTPException: 404, it runs none.
    """
    batches: Batches | None = request.app.state.batches
    if batches is None:
        raise HTTPException(404, "This service runs no batches: it was started without MARROWSCOPE_BATCHES_DIR.")
    return batches


BatchesDep = Annotated[Batches, Depends(get_batches)]


def get_batch(batches: BatchesDep, id: str) -> Batch:
    """The batch that a path names.

    Raises:
        HTTPException: 404, there is none.
    """
    batch = batches.store.get(id) if re.fullmatch("[0-9a-f]{32}", id) else None
    if batch is None:
        raise HTTPException(404, "There is no batch of that id.")
    return batch


BatchDep = Annotated[Batch, Depends(get_batch)]

batch_router = APIRouter(
    prefix="/batches",
    route_class=KeyedRoute,
    dependencies=[Depends(api_key)],
    responses=declare(401, 404, 405, 414, 422, 431, 500, 503),
    tags=["batches"],
)


@batch_router.post(
    "",
    status_code=202,
    responses=declare(400, 408, 413, 415),
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}},
)
async def start_batch(request: Request, response: Response, batches: BatchesDep) -> BatchOut:
    """Have slides and tiles analysed, however long it takes; the answer says where to ask how far it is."""
    analyzer: Analyzer = request.app.state.analyzer
    folder = await run_in_threadpool(batches.arriving)
    try:
        form = await read_batch_form(request, folder)
        bundle = analyzer.bundle(form.bundle).directory.name
        batch = await run_in_threadpool(_add, batches, folder, form, bundle, request.state.key_name)
    except OSError as error:
        raise _unwritable(error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # Nothing is there but where it was refused.
    response.headers["Location"] = f"/batches/{batch.id}"
    return batch_out(batch, [])


def _unwritable(error: OSError) -> HTTPException:
    log.error("what was sent with a batch cannot be kept: %s", error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return HTTPException(503, "The service's disk is full; nothing was kept of this batch.")
    return HTTPException(503, "The service cannot write to its disk; nothing was kept of this batch.")


def _add(batches: Batches, folder: Path, form: BatchForm, bundle: str, by: str | None) -> Batch:
    """Keep what was asked for; `path` is looked for first."""
    if form.path is None:
        n_tiles = len(list((folder / TILES).iterdir()))
        source, argument = (
            f"{n_tiles} uploaded {'file' if n_tiles == 1 else 'files'}",
            str(batches.place(folder) / TILES),
        )
    elif batches.slides is None:
        raise HTTPException(422, "This service takes no `path`: it was started without MARROWSCOPE_SLIDES_DIR.")
    else:
        source, argument = form.path, find_under(batches.slides, form.path)
    parameters = Parameters(
        bundle=bundle,
        mpp=form.mpp,
        precision=form.precision,
        regions=len(list((folder / REGIONS).glob("*"))),
        patients=(folder / PATIENTS).exists(),
    )
    return batches.add(folder, Order(source=source, argument=argument, parameters=parameters), by)


@batch_router.get("")
def list_batches(
    batches: BatchesDep,
    limit: Annotated[int, Query(ge=1, le=100, description="how many, at most")] = 20,
    after: Annotated[str | None, Query(description="id of a batch: only older ones")] = None,
) -> BatchesOut:
    """Batches, the newest first."""
    last = None if after is None else get_batch(batches, after)
    found = batches.store.newest(limit + 1, last)
    shown = found[:limit]
    more = shown[-1].id if len(found) > limit else None
    return BatchesOut(batches=[batch_summary(batch) for batch in shown], paths=batches.slides is not None, next=more)


@batch_router.get("/{id}")
def show_batch(batches: BatchesDep, batch: BatchDep) -> BatchOut:
    """How far a batch is, and its results so far."""
    return batch_out(batch, result_files(batches.folder(batch)))


@batch_router.get(
    "/{id}/results/{path:path}",
    response_class=Response,
    responses={200: {"content": RESULT_CONTENT}, 206: {"description": "A part of it"}, **declare(400, 416)},
)
def result(batches: BatchesDep, batch: BatchDep, path: str) -> Response:
    """A file of results; parts of it with the header Range."""
    found = result_file(batches.folder(batch), path)
    if found is None:
        raise HTTPException(404, "The batch has no such file among its results.")
    return ResultResponse(found)


@batch_router.delete("/{id}", responses={202: {"model": BatchOut, "description": "It ends soon"}, **declare(409)})
def cancel_batch(response: Response, batches: BatchesDep, batch: BatchDep) -> BatchOut:
    """Cancel a batch that waits or runs; its results so far stay."""
    if not batches.store.cancel(batch.id):
        raise HTTPException(409, f"The batch has ended already: it is {batch.state}.")
    cancelled = get_batch(batches, batch.id)
    if cancelled.state == "running":
        response.status_code = 202
        response.headers["Location"] = f"/batches/{batch.id}"
    return batch_out(cancelled, result_files(batches.folder(batch)))
