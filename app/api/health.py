"""GET /livez, /readyz and /metrics, for whoever runs the service; none of them asks for a key."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from app.answer.schemas import HealthOut
from app.api.bundles import AnalyzerDep
from app.api.http.parameters import Route
from app.api.http.problems import STATUS, declare
from app.audit.log import AuditLog
from app.observe.metrics import CONTENT_TYPE, Metrics

router = APIRouter(route_class=Route, tags=["health"], responses=declare(405, 414, 422, 431, 500))


@router.get("/livez", response_description="The process is alive.")
async def livez() -> HealthOut:
    """Answer while the process is alive."""
    return HealthOut(status="alive")


@router.get("/readyz", response_description="Tiles can be analysed.", responses=declare(503))
async def readyz(request: Request, analyzer: AnalyzerDep) -> HealthOut:
    """Answer 200 when tiles can be analysed.

    The default bundle has then reproduced its golden pair; and if keys or an audit log are set, the keys can be read
    and the log can be written.
    """
    request.app.state.keyring.check()
    audit_log: AuditLog | None = request.app.state.audit_log
    if audit_log:
        await run_in_threadpool(audit_log.check)
    analyzer.bundle()
    return HealthOut(status="ready")


@router.get(
    "/metrics",
    response_class=Response,
    response_description="The metrics of the service.",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request, analyzer: AnalyzerDep) -> Response:
    """Show counts and times in Prometheus' text format. They hold nothing of a tile, and no key is needed."""
    measured: Metrics = request.app.state.metrics
    try:
        await readyz(request, analyzer)
        measured.ready.set(1)
    except tuple(STATUS):
        measured.ready.set(0)
    return Response(await run_in_threadpool(measured.text), media_type=CONTENT_TYPE)
