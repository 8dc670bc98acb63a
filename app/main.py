"""The FastAPI application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline
from starlette.concurrency import run_in_threadpool

from app import __version__
from app.api.document import install_document
from app.api.middleware import RequestMiddleware
from app.api.page import files, page
from app.api.problems import install_problem_handlers
from app.api.routes import health, router
from app.keyring import Keyring, KeysUnreadable
from app.observe.metrics import Metrics
from app.observe.requests import ObserveMiddleware, templates
from app.service import Analyzer
from app.settings import Settings

DESCRIPTION = """Post a bone-marrow tile, get its cells, their clusters and proportions, and the tile's label.

For Research Use Only. Not for use in diagnostic procedures."""


def create_app(settings: Settings) -> FastAPI:
    """Build the application; its lifespan loads the bundles.

    Args:
        settings: limits, keys and where the bundles are.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        analyzer = Analyzer(settings, app.state.metrics)
        await run_in_threadpool(analyzer.load)
        app.state.analyzer = analyzer
        with suppress(KeysUnreadable):  # It is in the log, and /readyz says it.
            app.state.keyring.check()
        yield
        analyzer.close()

    # The documentation page must work in a laboratory without internet: its scripts come from a package.
    app = FastAPIOffline(
        title="Marrowscope",
        version=__version__,
        description=DESCRIPTION,
        lifespan=lifespan,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.settings = settings
    app.state.metrics = Metrics()
    app.state.keyring = Keyring(settings.keys_file)
    app.add_middleware(RequestMiddleware, max_bytes=settings.max_bytes)
    install_problem_handlers(app)
    install_document(app)
    app.include_router(health)
    app.include_router(router)
    app.include_router(page)
    app.mount("/web", files)
    paths = templates([*health.routes, *router.routes, *page.routes, *app.routes])
    app.add_middleware(ObserveMiddleware, metrics=app.state.metrics, paths=paths)
    return app
