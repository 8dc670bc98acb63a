"""A Dask scheduler and its workers, as processes that may come and go."""

import socket
import subprocess
import sys

from tests.processes import started


class Cluster:
    """`with cluster.scheduler():` and `with cluster.worker() as process:`, always at the same address.

    Args:
        folder: where the workers put their files.
    """

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self.port}"

    def scheduler(self):
        return self._run("scheduler", "--host", "127.0.0.1", "--port", self.port)

    def worker(self):
        return self._run("worker", self.address, "--nthreads", "1", "--no-nanny", "--local-directory", self.folder)

    def _run(self, *arguments):
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return started([sys.executable, "-m", "dask", *arguments, "--no-dashboard"], cwd=self.folder, **quiet)
