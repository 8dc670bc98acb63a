"""A PostgreSQL server of one's own, in a temporary folder."""

import glob
import os
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.processes import ran, started
from tests.waiting import PATIENCE_S, until


def find_tools():
    """Return the folder of initdb and postgres, or None where PostgreSQL is not installed."""
    found = shutil.which("initdb") or next(iter(sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))[-1:]), None)
    return Path(found).resolve().parent if found else None


@contextmanager
def postgres(tools):
    """Yield the address of a server, which ends with the block.

    It listens on a socket in its own folder and on no port, which something else could have taken.
    """
    user = "nobody" if os.getuid() == 0 else None  # it refuses to be run by root
    with TemporaryDirectory() as folder:
        if user:
            shutil.chown(folder, user)
        made = ran(
            [tools / "initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "tester", "--no-sync"],
            user=user,
            cwd=folder,
        )
        assert made.returncode == 0, made.stderr
        options = ["-k", folder, "-c", "listen_addresses=", "-c", "fsync=off"]
        with (
            Path(folder, "log").open("w") as log,
            started(
                [tools / "postgres", "-D", f"{folder}/data", *options], user=user, cwd=folder, stdout=log, stderr=log
            ) as server,
        ):
            try:
                until(lambda: is_ready(tools, folder, server))
                yield f"postgresql://tester@/postgres?host={folder}"
            finally:
                server.send_signal(signal.SIGQUIT)  # the quick way to end that gives its shared memory back
                server.wait(PATIENCE_S)


def is_ready(tools, folder, server):
    assert server.poll() is None, Path(folder, "log").read_text()
    return ran([tools / "pg_isready", "-q", "-h", folder]).returncode == 0
