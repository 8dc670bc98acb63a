"""Post one tile to the application, and print which of its modules were called: `python -m tests.tracing`.

The output is a JSON object: for each thread, its name and the modules in the order in which it first called a function
of them. Importing a module does not count.
"""

import asyncio
import json
import re
import sys
import threading
from collections import defaultdict
from pathlib import Path

import httpx

from app.main import create_app
from app.settings import Settings

REPOSITORY = Path(__file__).parents[1]
APP = REPOSITORY / "app"


class Tracer:
    """A profile function that keeps the modules of `app` that each thread calls while `is_on`."""

    def __init__(self):
        self.is_on = False
        self.called = defaultdict(dict)

    def __call__(self, frame, event, argument):
        code = frame.f_code
        if self.is_on and event == "call" and code.co_name != "<module>" and Path(code.co_filename).is_relative_to(APP):
            module = ".".join(Path(code.co_filename).relative_to(REPOSITORY).with_suffix("").parts)
            # Threads of a pool are numbered.
            self.called[re.sub(r"_\d+$", "", threading.current_thread().name)][module] = True


async def post_one_tile(tracer):
    app = create_app(Settings(threads=1))
    tile = (REPOSITORY / "models" / "marrow" / "sample.png").read_bytes()
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client,
    ):
        # The first request builds the middleware.
        await client.get("/livez")
        sys.setprofile(tracer)
        tracer.is_on = True
        response = await client.post("/analyze", files={"tile": tile})
        tracer.is_on = False
        sys.setprofile(None)
    response.raise_for_status()


if __name__ == "__main__":
    tracer = Tracer()
    threading.setprofile(tracer)
    asyncio.run(post_one_tile(tracer))
    print(json.dumps({thread: list(modules) for thread, modules in tracer.called.items()}))
