"""The endpoints of batches: whole slides and cohorts, analysed in the background."""

from __future__ import annotations

import errno
import logging
import re
import shutil
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Scope, Send

from app.api.batch_form import SCHEMA, Sent, read_batch_form
from app.api.batch_schemas import BatchesOut, BatchOut, batch_out, batch_summary
from app.api.bundles import AnalyzerDep
from app.api.http.keys import keyed_router
from app.api.http.problems import declare, problem
from app.jobs.batch import Batch, Order, Parameters
from app.jobs.batches import Batches
from app.jobs.belongings import give_to_slides
from app.jobs.folder import ANY, MEDIA_TYPES, PATIENTS, TILES, media_type, result_file, result_files
from app.jobs.slides_root import find_under

log = logging.getLogger(__name__)

RESULT_CONTENT: dict[str, Any] = {kind: {} for kind in sorted({*MEDIA_TYPES.values(), ANY})}
REPORT_HEADERS = {
    # A report holds its own style and pictures, and no script.
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
}
RANGE_REFUSALS = {400: "The header Range is malformed.", 416: "The file is shorter than the header Range asks."}


def get_batches(request: Request) -> Batches:
    """Return the batches of this service.

    Raises:
        HTTPException: 404, the service runs no batches.
    """
    batches: Batches | None = request.app.state.batches
    if batches is None:
        raise HTTPException(404, "This service runs no batches: it was started without MARROWSCOPE_BATCHES_DIR.")
    return batches


BatchesDep = Annotated[Batches, Depends(get_batches)]


def get_batch(batches: BatchesDep, id: str) -> Batch:
    """Return the batch that a path names.

    Raises:
        HTTPException: 404, there is no such batch.
    """
    batch = batches.store.get(id) if re.fullmatch("[0-9a-f]{32}", id) else None
    if batch is None:
        raise HTTPException(404, "There is no batch of that id.")
    return batch


BatchDep = Annotated[Batch, Depends(get_batch)]

router = keyed_router(404, prefix="/batches", tags=["batches"])


@router.post(
    "",
    status_code=202,
    response_description="The batch waits for its turn. The header Location shows how far it is.",
    responses=declare(400, 408, 413, 415),
    openapi_extra={"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": SCHEMA}}}},
)
async def start_batch(request: Request, response: Response, analyzer: AnalyzerDep, batches: BatchesDep) -> BatchOut:
    """Start the analysis of slides and tiles in the background. The header Location shows how far it is."""
    folder = await run_in_threadpool(batches.arriving)
    try:
        sent = await read_batch_form(request, folder)
        bundle = analyzer.bundle(sent.fields.bundle).directory.name
        batch = await run_in_threadpool(_add, batches, folder, sent, bundle, request.state.key_name)
    except OSError as error:
        raise _unwritable(error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # The folder is still there only if the batch was refused.
    # It is relative to this request, because a proxy may have removed a prefix of its path.
    response.headers["Location"] = f"batches/{batch.id}"
    return batch_out(batch, [])


def _unwritable(error: OSError) -> HTTPException:
    log.error("the upload of a batch cannot be written: %s", error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return HTTPException(503, "The service's disk is full; nothing was kept of this batch.")
    return HTTPException(503, "The service cannot write to its disk; nothing was kept of this batch.")


def _add(batches: Batches, folder: Path, sent: Sent, bundle: str, by: str | None) -> Batch:
    """Add the batch to the queue.

    Args:
        batches: the batches of this service.
        folder: holds the files that were uploaded.
        sent: what was sent.
        bundle: name of the bundle.
        by: name of the key that the batch is asked for with; None if no key is asked for.

    Raises:
        HTTPException: 422, the service takes no `path`.
        InvalidParameter: a name in the table of patients or of a file of regions may mean several slides.
        NotUnderRoot: the path is not below the root of slides.
    """
    form, n_tiles = sent.fields, len(sent.tiles)
    if form.path is None:
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
        frame=form.frame,
        precision=form.precision,
        map=form.map,
        regions=len(sent.regions),
        patients=(folder / PATIENTS).exists(),
    )
    warnings = give_to_slides(folder, argument, sent.tiles, sent.regions)
    order = Order(source=source, argument=argument, parameters=parameters, warnings=warnings)
    return batches.add(folder, order, by)


@router.get("", response_description="The batches.")
def list_batches(
    batches: BatchesDep,
    limit: Annotated[int, Query(ge=1, le=100, description="Largest number of batches, 1 to 100.")] = 20,
    after: Annotated[str | None, Query(description="Id of a batch. Only older batches are listed.")] = None,
) -> BatchesOut:
    """List batches, the newest first."""
    last = None if after is None else get_batch(batches, after)
    found = batches.store.newest(limit + 1, last)
    shown = found[:limit]
    more = shown[-1].id if len(found) > limit else None
    return BatchesOut(batches=[batch_summary(batch) for batch in shown], paths=batches.slides is not None, next=more)


@router.get("/{id}", response_description="The batch, with its results so far.")
def show_batch(batches: BatchesDep, batch: BatchDep) -> BatchOut:
    """Show how far a batch is, and its results so far."""
    return batch_out(batch, result_files(batches.folder(batch)))


@router.get(
    "/{id}/results/{path:path}",
    response_class=Response,
    response_description="The whole file.",
    responses={
        200: {"content": RESULT_CONTENT},
        206: {"description": "Part of the file, as the header Range asks."},
        **declare(400, 416),
    },
)
def result(batches: BatchesDep, batch: BatchDep, path: str) -> Response:
    """Send a file of results, or parts of it if there is a header Range."""
    found = result_file(batches.folder(batch), path)
    if found is None:
        raise HTTPException(404, "The batch has no such file among its results.")
    return ResultResponse(found)


@router.delete(
    "/{id}",
    response_description="The batch was cancelled, with its results so far.",
    responses={
        202: {"model": BatchOut, "description": "The batch is running, and ends within seconds."},
        **declare(409),
    },
)
def cancel_batch(response: Response, batches: BatchesDep, batch: BatchDep) -> BatchOut:
    """Cancel a batch that waits or runs. Its results so far remain."""
    if not batches.store.cancel(batch.id):
        raise HTTPException(409, f"The batch has ended already: it is {batch.state}.")
    cancelled = get_batch(batches, batch.id)
    if cancelled.state == "running":
        response.status_code = 202
        response.headers["Location"] = batch.id
    return batch_out(cancelled, result_files(batches.folder(batch)))


class ResultResponse(FileResponse):
    """A file of results, or parts of it. An error is answered with a problem, as every other error is.

    Args:
        path: a file that exists.

    Raises:
        OSError: the file does not exist any more.
    """

    def __init__(self, path: Path) -> None:
        kind = media_type(path.name)
        headers = REPORT_HEADERS if kind == "text/html" else None
        super().__init__(path, headers=headers, media_type=kind, stat_result=path.stat())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the file; this is the entry point of ASGI."""
        refused: Message | None = None

        async def send_file(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in RANGE_REFUSALS:
                refused = message
            if refused is None:
                await send(message)

        await super().__call__(scope, receive, send_file)
        if refused is not None:
            status, length = refused["status"], Headers(raw=refused["headers"]).get("content-range")
            headers = {"Content-Range": length} if length else None
            await problem(Request(scope), status, RANGE_REFUSALS[status], headers)(scope, receive, send)
