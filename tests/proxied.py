"""Debian's nginx with the configuration that docker-compose.yml gives to the proxy."""

import os
import shutil
import socket
from contextlib import contextmanager

import pytest

from tests.conftest import REPOSITORY
from tests.processes import started
from tests.waiting import PATIENCE_S, until

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
ATTEMPTS = 5
"""Another program may take a free port before nginx does."""
CONFIGURATION = REPOSITORY / "deploy" / "proxy"


def require_nginx():
    """Skip where nginx is not installed; there must be one in continuous integration."""
    if NGINX is None:
        assert "CI" not in os.environ, "nginx is not installed"
        pytest.skip("nginx is not installed (Debian: nginx-light)")


def free_port():
    """Return a port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def proxied(folder, replicas, listen="listen.conf", **replaced):
    """Run the proxy in front of these addresses; yield its port. What is replaced in its configuration is there once.

    It differs from the proxy of compose in where it listens and whom it asks, whose names Docker looks up.
    """
    require_nginx()
    shutil.copytree(CONFIGURATION, folder / "proxy")
    servers = "".join(f"server {address.removeprefix('http://')} max_fails=0; " for address in replicas)
    (folder / "proxy" / "upstream.conf").write_text(f"upstream marrowscope {{ least_conn; {servers} }}")
    main = (folder / "proxy" / "nginx.conf").read_text()
    for old, new in replaced.values():
        assert main.count(old) == 1, old
        main = main.replace(old, new)
    (folder / "proxy" / "nginx.conf").write_text(main)
    # Where root starts it, its workers must reach the test's folder all the same.
    user = "user root;" if os.geteuid() == 0 else ""
    command = [NGINX, "-p", folder, "-e", "stderr", "-c", folder / "proxy" / "nginx.conf", "-g", f"daemon off; {user}"]
    for _ in range(ATTEMPTS):
        port = free_port()
        text = (CONFIGURATION / listen).read_text().replace("listen 8080", f"listen 127.0.0.1:{port}")
        (folder / "proxy" / "listen.conf").write_text(text.replace("/certificates", str(folder)))
        with (folder / "nginx.log").open("a") as log, started(command, stdout=log, stderr=log) as process:
            if has_its_port(folder, process):
                yield port
                process.terminate()
                process.wait(PATIENCE_S)
                return
    raise AssertionError((folder / "nginx.log").read_text())


def has_its_port(folder, process):
    """Wait until nginx has bound its port, and then writes its process id, or has ended because it could not."""
    pid = folder / "nginx.pid"
    until(lambda: process.poll() is not None or (pid.exists() and pid.read_text().strip()))
    return process.poll() is None
