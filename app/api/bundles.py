"""GET /bundles and GET /prototypes: what a bundle is, and the cells that it draws."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Depends, Query, Request, Response

from app.answer import present
from app.answer.formats import PNG
from app.answer.schemas import BundleOut, BundlesOut, PrototypeGridOut, PrototypesOut
from app.api.http.keys import keyed_router
from app.api.http.problems import declare
from app.pipeline.prototypes import MAX_PROTOTYPES, MAX_SEED, square_grid, tile_grid
from app.service import Analyzer

PNG_CONTENT = {PNG: {"schema": {"type": "string", "format": "binary"}}}


async def get_analyzer(request: Request) -> Analyzer:
    """Return the service of this application."""
    analyzer: Analyzer = request.app.state.analyzer
    return analyzer


AnalyzerDep = Annotated[Analyzer, Depends(get_analyzer)]
BundleQuery = Annotated[
    str | None, Query(description="Name of a bundle. Without it, the service's default bundle answers.")
]
SeedQuery = Annotated[
    int, Query(ge=0, le=MAX_SEED, description="Seed of the noise, 0 to 2³² − 1. The same seed gives the same cells.")
]
PictureQuery = Annotated[
    Literal["png", "json"], Query(description="png is one picture with all cells in a grid; json holds each by itself.")
]

router = keyed_router()


@router.get(
    "/prototypes/{cluster}",
    response_description="The cells, in one picture or each by itself.",
    responses={200: {"model": PrototypesOut, "content": PNG_CONTENT}, **declare(404, 504)},
    tags=["prototypes"],
)
async def prototypes(
    analyzer: AnalyzerDep,
    cluster: int,
    n: Annotated[int, Query(ge=1, le=MAX_PROTOTYPES, description="Number of cells, 1 to 64.")] = 16,
    seed: SeedQuery = 0,
    bundle: BundleQuery = None,
    format: PictureQuery = "png",
) -> Response:
    """Draw cells of one cluster with the bundle's generator."""
    cells = await analyzer.prototypes(cluster, n, seed, bundle)
    if format == "png":
        return Response(present.png(square_grid(cells)), media_type=PNG)
    answer = present.prototypes_out(analyzer.bundle(bundle), cluster, seed, cells)
    return Response(answer.model_dump_json(), media_type="application/json")


@router.get(
    "/prototypes",
    response_class=Response,
    response_description="The grid, in one picture or each cell by itself.",
    responses={200: {"model": PrototypeGridOut, "content": PNG_CONTENT}, **declare(404, 504)},
    tags=["prototypes"],
)
async def prototype_grid(
    analyzer: AnalyzerDep,
    n: Annotated[int, Query(ge=1, le=MAX_PROTOTYPES, description="Number of rows, 1 to 64.")] = 8,
    seed: SeedQuery = 0,
    bundle: BundleQuery = None,
    format: PictureQuery = "png",
) -> Response:
    """Draw the grid of the paper: one column for each cluster, and the same noise along a row."""
    grid = await analyzer.prototype_grid(n, seed, bundle)
    if format == "png":
        return Response(present.png(tile_grid(grid)), media_type=PNG)
    used = analyzer.bundle(bundle)
    columns = [present.prototypes_out(used, cluster, seed, grid[:, cluster]) for cluster in range(grid.shape[1])]
    return Response(PrototypeGridOut(clusters=columns).model_dump_json(), media_type="application/json")


@router.get("/bundles", response_description="The bundles that can be served.", tags=["bundles"])
async def bundles(request: Request, analyzer: AnalyzerDep) -> BundlesOut:
    """List the bundles that can be served."""
    served = analyzer.bundles().items()
    return BundlesOut(
        bundles=[present.bundle_summary(bundle, default=analyzer.is_default(name)) for name, bundle in served],
        batches=request.app.state.batches is not None,
        reviews=request.app.state.reviews is not None,
        adapts=request.app.state.settings.writes_bundles,
    )


@router.get("/bundles/{name}", response_description="What the bundle is.", responses=declare(404), tags=["bundles"])
async def bundle(analyzer: AnalyzerDep, name: str) -> BundleOut:
    """Show the model card, provenance, licence, metrics and checksums of one bundle."""
    return present.bundle_out(analyzer.bundle(name), default=analyzer.is_default(name))


@router.get(
    "/bundles/{name}/sample",
    response_class=Response,
    response_description="The sample tile.",
    responses={200: {"content": PNG_CONTENT}, **declare(404)},
    tags=["bundles"],
)
async def sample(analyzer: AnalyzerDep, name: str) -> Response:
    """Show the bundle's sample tile as PNG: cells that its generator drew, on a synthetic background."""
    return Response(await analyzer.sample(name), media_type=PNG)
