"""The endpoints of the contract."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, File, HTTPException, Query, Request, Response, UploadFile
from starlette.concurrency import run_in_threadpool

from app.answer import present
from app.answer.formats import FORMATS, PNG, FormatName
from app.answer.schemas import AnalysisOut, BundleOut, BundlesOut, HealthOut, PrototypeGridOut, PrototypesOut
from app.api.accept import wanted_format
from app.api.keys import KeyedRoute, api_key
from app.api.problems import STATUS, declare
from app.audit.log import AuditLog
from app.observe.metrics import CONTENT_TYPE, Metrics
from app.pipeline.inputs import FORMATS as UPLOADS
from app.pipeline.inputs import MPP_RANGE
from app.pipeline.networks.backend import Precision
from app.pipeline.prototypes import MAX_PROTOTYPES, MAX_SEED, square_grid, tile_grid
from app.service import Analyzer, Result

PNG_CONTENT = {PNG: {"schema": {"type": "string", "format": "binary"}}}
ANALYSIS_CONTENT = {
    FORMATS["geojson"].media_type: {"schema": {"type": "object"}},
    FORMATS["csv"].media_type: {"schema": {"type": "string"}},
    **PNG_CONTENT,
}

UPLOAD_TYPES = ", ".join(f"image/{name.lower()}" for name in UPLOADS)
UPLOAD = {"requestBody": {"content": {"multipart/form-data": {"encoding": {"tile": {"contentType": UPLOAD_TYPES}}}}}}


def get_analyzer(request: Request) -> Analyzer:
    """The service of this application."""
    analyzer: Analyzer = request.app.state.analyzer
    return analyzer


AnalyzerDep = Annotated[Analyzer, Depends(get_analyzer)]
BundleQuery = Annotated[str | None, Query(description="name of a bundle; default: the shipped one")]
SeedQuery = Annotated[int, Query(ge=0, le=MAX_SEED, description="the same seed gives the same cells")]

health = APIRouter(tags=["health"], responses=declare(405, 414, 431, 500))
router = APIRouter(
    route_class=KeyedRoute,
    dependencies=[Depends(api_key)],
    responses=declare(401, 405, 414, 422, 431, 500, 503),
)


@router.post(
    "/analyze",
    response_class=Response,
    responses={200: {"model": AnalysisOut, "content": ANALYSIS_CONTENT}, **declare(400, 404, 406, 408, 413, 415, 504)},
    openapi_extra=UPLOAD,
    tags=["analysis"],
)
async def analyze(
    request: Request,
    analyzer: AnalyzerDep,
    tile: Annotated[UploadFile, File(description="PNG, JPEG or TIFF, 8 bits per channel")],
    bundle: BundleQuery = None,
    mpp: Annotated[
        float | None, Query(ge=MPP_RANGE[0], le=MPP_RANGE[1], description="µm per pixel of the tile, 0.05 to 4")
    ] = None,
    prototypes: Annotated[
        int, Query(ge=0, le=16, description="prototype cells per cluster to embed, in JSON only")
    ] = 0,
    precision: Annotated[
        Precision,
        Query(
            description="of the network that sorts the cells. full: exact. fast: 8-bit integers, if the bundle has it "
            "(precisions of GET /bundles/{name}; manifest.fast.agreement says how far both agree), else full"
        ),
    ] = "fast",
    format: Annotated[
        FormatName | None,
        Query(
            description="form of the answer, before what Accept says. json (the default); geojson: detections for "
            "QuPath; csv: a row per cell; overlay: the tile with outlines, PNG; labels: 16-bit PNG, 0 is background, "
            "i + 1 is cell i; tile: the tile as it was read, PNG"
        ),
    ] = None,
) -> Response:
    """Find the cells of a tile, their clusters and proportions, and the tile's label."""
    wanted = wanted_format(format, ", ".join(request.headers.getlist("accept")))
    if len((await request.form()).multi_items()) != 1:
        raise HTTPException(400, "The multipart form must hold exactly one file, in the field `tile`.")
    n_prototypes = prototypes if wanted == "json" else 0
    form, request_id = FORMATS[wanted], request.state.request_id

    def render(result: Result) -> bytes:
        request.state.n_cells = len(result.analysis.cells.areas_px)
        request.state.answer = answer = present.analysis_out(result, request_id)
        return form.write(result.analysis, answer)

    request.state.format, request.state.upload = wanted, await tile.read()
    body = await analyzer.analyse(request.state.upload, bundle, mpp, n_prototypes, precision, render)
    return Response(body, media_type=form.media_type)


@router.get(
    "/prototypes/{cluster}",
    responses={200: {"model": PrototypesOut, "content": PNG_CONTENT}, **declare(404, 504)},
    tags=["prototypes"],
)
async def prototypes(
    analyzer: AnalyzerDep,
    cluster: int,
    n: Annotated[int, Query(ge=1, le=MAX_PROTOTYPES, description="how many cells")] = 16,
    seed: SeedQuery = 0,
    bundle: BundleQuery = None,
    format: Annotated[Literal["png", "json"], Query(description="a PNG grid, or each cell by itself")] = "png",
) -> Response:
    """Cells of one cluster, drawn by the generator."""
    cells = await analyzer.prototypes(cluster, n, seed, bundle)
    if format == "png":
        return Response(present.png(square_grid(cells)), media_type=PNG)
    answer = present.prototypes_out(analyzer.bundle(bundle), cluster, seed, cells)
    return Response(answer.model_dump_json(), media_type="application/json")


@router.get(
    "/prototypes",
    response_class=Response,
    responses={200: {"model": PrototypeGridOut, "content": PNG_CONTENT}, **declare(404, 504)},
    tags=["prototypes"],
)
async def prototype_grid(
    analyzer: AnalyzerDep,
    n: Annotated[int, Query(ge=1, le=MAX_PROTOTYPES, description="rows")] = 8,
    seed: SeedQuery = 0,
    bundle: BundleQuery = None,
    format: Annotated[Literal["png", "json"], Query(description="a PNG grid, or each cell by itself")] = "png",
) -> Response:
    """The grid of the paper: noise fixed along a row, one column per cluster."""
    grid = await analyzer.prototype_grid(n, seed, bundle)
    if format == "png":
        return Response(present.png(tile_grid(grid)), media_type=PNG)
    used = analyzer.bundle(bundle)
    columns = [present.prototypes_out(used, cluster, seed, grid[:, cluster]) for cluster in range(grid.shape[1])]
    return Response(PrototypeGridOut(clusters=columns).model_dump_json(), media_type="application/json")


@router.get("/bundles", tags=["bundles"])
async def bundles(request: Request, analyzer: AnalyzerDep) -> BundlesOut:
    """Every bundle that can be served."""
    served = analyzer.bundles().items()
    return BundlesOut(
        bundles=[present.bundle_summary(bundle, default=analyzer.is_default(name)) for name, bundle in served],
        batches=request.app.state.batches is not None,
    )


@router.get("/bundles/{name}", responses=declare(404), tags=["bundles"])
async def bundle(analyzer: AnalyzerDep, name: str) -> BundleOut:
    """Model card, provenance, licence, metrics and checksums of one bundle."""
    return present.bundle_out(analyzer.bundle(name), default=analyzer.is_default(name))


@router.get(
    "/bundles/{name}/sample",
    response_class=Response,
    responses={200: {"content": PNG_CONTENT}, **declare(404)},
    tags=["bundles"],
)
async def sample(analyzer: AnalyzerDep, name: str) -> Response:
    """The bundle's sample tile, PNG: cells drawn by its generator on a synthetic background."""
    return Response(await analyzer.sample(name), media_type=PNG)


@health.get("/livez")
async def livez() -> HealthOut:
    """The process answers."""
    return HealthOut(status="alive")


@health.get("/readyz", responses=declare(503))
async def readyz(request: Request, analyzer: AnalyzerDep) -> HealthOut:
    """The default bundle has reproduced its golden pair; keys can be read and the audit log written, if any are set."""
    request.app.state.keyring.check()
    audit_log: AuditLog | None = request.app.state.audit_log
    if audit_log:
        await run_in_threadpool(audit_log.retry)
    analyzer.bundle()
    return HealthOut(status="ready")


@health.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request, analyzer: AnalyzerDep) -> Response:
    """Counts and times for Prometheus, in its text format; no key is asked for, and nothing of a tile is told."""
    measured: Metrics = request.app.state.metrics
    try:
        await readyz(request, analyzer)
        measured.ready.set(1)
    except tuple(STATUS):
        measured.ready.set(0)
    return Response(await run_in_threadpool(measured.text), media_type=CONTENT_TYPE)
