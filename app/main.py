"""The FastAPI application: its routes, its middleware, and what begins and ends with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from itertools import chain

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from app import __version__
from app.access.keyring import Keyring, KeysUnreadable
from app.api import adaptations, analyze, batches, bundles, classifiers, health, pages, reviews
from app.api.http.audit import AuditMiddleware
from app.api.http.forms import install_form_parser
from app.api.http.limits import MAX_FIELDS, MAX_FILES, LimitsMiddleware
from app.api.http.middleware import RequestMiddleware
from app.api.http.openapi import install_document
from app.api.http.problems import install_problem_handlers
from app.audit.log import AuditLog
from app.jobs.batches import open_batches
from app.observe.metrics import Metrics
from app.observe.requests import ObserveMiddleware, templates
from app.review.reviews import open_reviews
from app.service import Analyzer
from app.settings import Settings

DESCRIPTION = """Post a bone-marrow tile, and get its cells, their clusters and proportions, and the tile's label.

For Research Use Only. Not for use in diagnostic procedures."""


WATCH_S = 2.0
"""Seconds between looks for bundles that were taught or adapted, where the service may write bundles."""


def create_app(settings: Settings) -> FastAPI:
    """Build the application. Its bundles are loaded when it starts.

    Args:
        settings: the limits, the file of keys, the folder of bundles, and more.
    """
    app = FastAPI(
        title="Marrowscope",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan(settings),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        servers=[{"url": "."}],  # relative to openapi.json, so that the service may lie below a path of a proxy
        form_limits={"max_files": MAX_FILES, "max_fields": MAX_FIELDS},
    )
    app.state.settings = settings
    app.state.metrics = Metrics(settings.drift_dir)
    app.state.keyring = Keyring(settings.keys_file)
    app.state.is_adapting = False
    app.state.audit_log = AuditLog(settings.audit_log) if settings.audit_log else None
    install_form_parser()
    app.add_middleware(LimitsMiddleware, settings=settings)
    if app.state.audit_log:
        app.add_middleware(AuditMiddleware, log=app.state.audit_log)
    app.add_middleware(RequestMiddleware)
    install_problem_handlers(app)
    install_document(app)
    routers = [
        module.router for module in (health, analyze, bundles, adaptations, batches, reviews, classifiers, pages)
    ]
    for router in routers:
        app.include_router(router)
    app.mount("/web", pages.page_files)
    app.mount("/docs/files", pages.docs_files)
    paths = templates([*chain.from_iterable(router.routes for router in routers), *app.routes])
    app.add_middleware(ObserveMiddleware, metrics=app.state.metrics, paths=paths)
    return app


async def _watch_bundles(analyzer: Analyzer) -> None:
    """Load bundles that were taught or adapted meanwhile, by another process or from the shell."""
    while True:
        await asyncio.sleep(WATCH_S)
        await run_in_threadpool(analyzer.load_new)


def _lifespan(settings: Settings) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Return the context manager that starts and stops the application."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        analyzer = Analyzer(settings, app.state.metrics)
        await run_in_threadpool(analyzer.load)
        app.state.analyzer = analyzer
        if app.state.audit_log:
            await run_in_threadpool(app.state.audit_log.open)
        with suppress(KeysUnreadable):  # The log has the reason, and /readyz answers with it.
            app.state.keyring.check()
        app.state.batches = queue = await run_in_threadpool(open_batches, settings)
        app.state.reviews = review = await run_in_threadpool(open_reviews, settings.reviews_dir, settings.database_url)
        if queue:
            queue.start()
        watch = asyncio.create_task(_watch_bundles(analyzer)) if settings.writes_bundles else None
        yield
        if watch:
            watch.cancel()
        if queue:
            await run_in_threadpool(queue.close)
        if review:
            await run_in_threadpool(review.close)
        analyzer.close()

    return lifespan
