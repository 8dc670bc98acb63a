"""Debian's nginx with the configuration that docker-compose.yml gives to the proxy."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager

import pytest

from tests.conftest import REPOSITORY

NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CONFIGURATION = REPOSITORY / "deploy" / "proxy"


def require_nginx():
    """Skip where nginx is not installed; there must be one in continuous integration."""
    if NGINX is None:
        assert "CI" not in os.environ, "nginx is not installed"
        pytest.skip("nginx is not installed (Debian: nginx-light)")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def proxied(folder, replicas, listen="listen.conf", **replaced):
    """The proxy before these addresses; gives its port. What is replaced in its configuration is there once.

    Only where it listens and whom it asks is another than in compose, whose names Docker looks up.
    """
    require_nginx()
    shutil.copytree(CONFIGURATION, folder / "proxy")
    port = free_port()
    servers = "".join(f"server {address.removeprefix('http://')} max_fails=0; " for address in replicas)
    (folder / "proxy" / "upstream.conf").write_text(f"upstream marrowscope {{ least_conn; {servers} }}")
    text = (CONFIGURATION / listen).read_text().replace("listen 8080", f"listen 127.0.0.1:{port}")
    (folder / "proxy" / "listen.conf").write_text(text.replace("/certificates", str(folder)))
    main = (folder / "proxy" / "nginx.conf").read_text()
    for old, new in replaced.values():
        assert main.count(old) == 1, old
        main = main.replace(old, new)
    (folder / "proxy" / "nginx.conf").write_text(main)
    # Where root starts it, its workers must reach the test's folder all the same.
    user = "user root;" if os.geteuid() == 0 else ""
    command = [NGINX, "-p", folder, "-e", "stderr", "-c", folder / "proxy" / "nginx.conf", "-g", f"daemon off; {user}"]
    with (folder / "nginx.log").open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait(port, process, folder / "nginx.log")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def _wait(port, process, log):
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError(log.read_text())
