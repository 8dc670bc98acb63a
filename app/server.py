"""Run the service in one process, or in several that share a port."""

from __future__ import annotations

import gc
import json
import os
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from app.api.http.connection import Connection
from app.cpus import usable_cpus
from app.main import create_app
from app.observe.logs import log_config
from app.observe.processes import shared_numbers
from app.pipeline.memory import keep_buffers
from app.settings import Settings

GRACE_S = 25
"""How long accepted requests may take after SIGTERM, in seconds. Many container engines kill a service after 30 s."""
HUNG_AFTER_S = 30
"""One of several processes that does not respond for this long, in seconds, is replaced."""
MAX_HEAD_BYTES = 64 * 1024
"""The largest head of a request that arrives in pieces. The application has a lower limit, and gives a reason."""


def serve(settings: Settings, processes: int) -> None:
    """Answer requests until SIGTERM or Ctrl-C, then answer those that were accepted, and return.

    Args:
        settings: the settings of the service; several processes get them through the environment.
        processes: the number of processes; one that dies is replaced. If the settings do not say how many threads ONNX
            Runtime has, the processes share the cores that they may use.
    """
    if processes == 1:
        uvicorn.run(create_served_app(settings), **_options(settings))
        return
    if settings.threads == 0:
        settings = settings.model_copy(update={"threads": max(1, usable_cpus() // processes)})
    os.environ.update(as_environment(settings))
    with shared_numbers():
        options = {**_options(settings), "workers": processes, "timeout_worker_healthcheck": HUNG_AFTER_S}
        config = uvicorn.Config("app.server:create_served_app", factory=True, **options)
        Supervisor(config, [config.bind_socket()]).run()


class Supervisor(Multiprocess):
    """uvicorn's supervisor, which also notices at once when a worker dies during the check whether it is alive.

    uvicorn's own would wait for the dead worker as long as for a hung one, and would not react to SIGTERM meanwhile,
    because the parent keeps the worker's end of the pipe open.
    """

    def keep_subprocess_alive(self) -> None:
        """Check every worker, and replace those that died or hang."""
        for process in self.processes:
            process.child_conn.close()
        super().keep_subprocess_alive()


def create_served_app(settings: Settings | None = None) -> FastAPI:
    """Make the application in a process that serves it alone; the settings are by default those of the environment."""
    keep_buffers()
    app = create_app(settings or Settings())
    # Modules live as long as the process. Without this, the collector of cycles looks through them for every answer.
    gc.freeze()
    return app


def as_environment(settings: Settings) -> dict[str, str]:
    """Return environment variables from which `Settings` reads the same settings again."""
    changed = settings.model_dump(mode="json", exclude_defaults=True)
    prefix = Settings.model_config["env_prefix"]
    return {
        f"{prefix}{name}".upper(): value if isinstance(value, str) else json.dumps(value)
        for name, value in changed.items()
    }


def _options(settings: Settings) -> dict[str, Any]:
    """Return the options of uvicorn."""
    return {
        "host": settings.host,
        "port": settings.port,
        "http": Connection,
        "h11_max_incomplete_event_size": MAX_HEAD_BYTES,
        "ws": "none",
        "timeout_graceful_shutdown": GRACE_S,
        # Clients need not know which server answers.
        "server_header": False,
        # uvicorn's lines would hold paths and queries; app/observe/requests.py logs each request without them.
        "access_log": False,
        "log_config": log_config(settings.log_format, settings.log_level),
    }
