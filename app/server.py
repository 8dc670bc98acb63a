"""The server process, or several of them on one port."""

from __future__ import annotations

import json
import os
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from app.api.connection import Connection
from app.main import create_app
from app.memory import keep_buffers
from app.observe.logs import log_config
from app.observe.processes import shared_numbers
from app.settings import Settings

GRACE_S = 25
"""After a SIGTERM, for the requests that were accepted; container engines and systemd are often told to wait for 30."""
HUNG_AFTER_S = 30
"""Without a sign of life, one of several processes is replaced."""
MAX_HEAD_BYTES = 64 * 1024
"""Of a head that comes in pieces; the application refuses less than that, with a reason."""


def serve(settings: Settings, processes: int) -> None:
    """Answer until SIGTERM or Ctrl-C; then answer what was accepted, and end.

    Args:
        settings: of the service; several processes get them through the environment.
        processes: how many; one that dies is replaced. Where the settings leave the threads of ONNX Runtime open, the
            processes share the cores.
    """
    if processes == 1:
        keep_buffers()
        uvicorn.run(create_app(settings), **_options(settings))
        return
    if settings.threads == 0:
        settings = settings.model_copy(update={"threads": max(1, (os.cpu_count() or 1) // processes)})
    os.environ.update(as_environment(settings))
    with shared_numbers():
        options = {**_options(settings), "workers": processes, "timeout_worker_healthcheck": HUNG_AFTER_S}
        config = uvicorn.Config("app.server:create_served_app", factory=True, **options)
        Supervisor(config, [config.bind_socket()]).run()


class Supervisor(Multiprocess):
    """uvicorn's, but for a worker that dies while it is being asked whether it lives: that is seen at once.

    The parent would wait for its answer as long as for that of a hung one, deaf to SIGTERM, since it holds the worker's
    end of the pipe open itself.
    """

    def keep_subprocess_alive(self) -> None:
        """Ask every worker; replace those that died or hang."""
        for process in self.processes:
            process.child_conn.close()
        super().keep_subprocess_alive()


def create_served_app() -> FastAPI:
    """The application of one process of several, from the environment."""
    keep_buffers()
    return create_app(Settings())


def as_environment(settings: Settings) -> dict[str, str]:
    """Variables from which `Settings` reads the same again."""
    changed = settings.model_dump(mode="json", exclude_defaults=True)
    prefix = Settings.model_config["env_prefix"]
    return {
        f"{prefix}{name}".upper(): value if isinstance(value, str) else json.dumps(value)
        for name, value in changed.items()
    }


def _options(settings: Settings) -> dict[str, Any]:
    """What uvicorn is told."""
    return {
        "host": settings.host,
        "port": settings.port,
        "http": Connection,
        "h11_max_incomplete_event_size": MAX_HEAD_BYTES,
        "ws": "none",
        "timeout_graceful_shutdown": GRACE_S,
        # The version of the server is nobody's business.
        "server_header": False,
        # Its lines would hold paths and queries; app/observe/requests.py tells a request in one of its own.
        "access_log": False,
        "log_config": log_config(settings.log_format, settings.log_level),
    }
