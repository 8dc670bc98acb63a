"""The service from Python: tiles in, typed answers out. Made for notebooks."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

import httpx
import numpy as np
from PIL import Image

from app.answer.schemas import AnalysisOut, BundleOut, BundlesOut, PrototypesOut
from app.client_answers import ServiceProblem, no_answer, problem_of, read_answer, stranger
from app.pipeline.networks.backend import Precision
from app.pipeline.types import UInt8Array

TileSource = str | os.PathLike[str] | bytes | UInt8Array | Image.Image
ExportFormat = Literal["geojson", "csv", "overlay", "labels"]

# The table of the formats is `app.answer.formats.FORMATS`, but with it comes the whole pipeline.
MEDIA_TYPES: Mapping[ExportFormat, str] = {
    "geojson": "application/geo+json",
    "csv": "text/csv",
    "overlay": "image/png",
    "labels": "image/png",
}
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
KEEP_ALIVE_S = 2.0
"""Less than the 5 s after which the server closes a silent connection, lest one be used just as it is closed."""
MIN_PAUSE_S = 1
"""Between two attempts, whatever Retry-After says."""
PNG_LEVEL = 3
"""Of compression: 6, Pillow's own, takes five times as long for 6% fewer bytes."""


class Client:
    """A running service. Safe to share between threads; close it, or use it in a `with` block.

    A tile is a path, the bytes of a PNG, JPEG or TIFF file, a (H, W, 3) uint8 array, or a PIL image; the latter two
    are sent as PNG. The name of a file is not sent.

    When the service is busy, its Retry-After is waited for and the tile sent again, for `timeout_s` at most.

    Every method raises ServiceProblem when the service refuses or cannot be reached.

    Args:
        url: where the service is.
        api_key: one of the service's keys, when it has any.
        timeout_s: s to wait for an answer, and at most as many more while the service is busy.

    Raises:
        ValueError: `url` is no http address, or `timeout_s` is not above 0.

    Example:
        >>> from marrowscope import Client
        >>> with Client() as service:
        ...     answer = service.analyze("models/marrow/sample.png", mpp=0.25)
        >>> answer.label.value, len(answer.cells)
        ('normal', 129)
    """

    def __init__(
        self, url: str = "http://127.0.0.1:8000", *, api_key: str | None = None, timeout_s: float = 90
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"url must begin with http:// or https://, found '{url}'.")
        if not timeout_s > 0:
            raise ValueError(f"timeout_s must be above 0, found {timeout_s}.")
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            base_url=url,
            # As bytes, since a key need not be ASCII; a line break at its end is that of the file it was read from.
            headers={} if api_key is None else {b"X-API-Key": api_key.strip().encode()},
            timeout=timeout_s,
            limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_S),
            # A tile for this machine must not go to the proxy that the environment may name.
            mounts={f"all://{host}": None for host in LOOPBACK},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client cannot be used again."""
        self._http.close()

    def analyze(
        self,
        tile: TileSource,
        *,
        mpp: float | None = None,
        bundle: str | None = None,
        prototypes: int = 0,
        precision: Precision = "fast",
    ) -> AnalysisOut:
        """Find the cells of a tile, their clusters and proportions, and the tile's label.

        Args:
            tile: see the class.
            mpp: µm per pixel of the tile, 0.05 to 4; None: that of the bundle.
            bundle: its name; None: the service's default.
            prototypes: prototype cells per cluster to embed, 0 to 16.
            precision: of the network that sorts the cells. full: exact; fast: in 8-bit integers, nearly the same.

        Raises:
            ServiceProblem: the service refuses the tile or a parameter, or cannot be reached.
            OSError: the tile cannot be read.
            TypeError, ValueError: it is no tile.
        """
        query = {"mpp": mpp, "bundle": bundle, "prototypes": prototypes, "precision": precision}
        return read_answer(AnalysisOut, self._post(tile, query))

    def export(
        self,
        tile: TileSource,
        format: ExportFormat,
        *,
        mpp: float | None = None,
        bundle: str | None = None,
        precision: Precision = "fast",
    ) -> bytes:
        """The analysis as the bytes of a file.

        Args:
            tile: see the class.
            format: geojson: detections for QuPath; csv: a row per cell; overlay: PNG of the tile with outlines;
                labels: 16-bit PNG, 0 is background, i + 1 is cell i.
            mpp: as for `analyze`, like what follows.
            bundle: likewise.
            precision: likewise.

        Raises:
            ServiceProblem: the service refuses the tile or a parameter, or cannot be reached.
            OSError: the tile cannot be read.
            TypeError, ValueError: it is no tile, or there is no such format.

        Example:
            >>> Path("cells.csv").write_bytes(service.export("tile.png", "csv", mpp=0.25))
        """
        if format not in MEDIA_TYPES:
            raise ValueError(f"format must be one of {', '.join(MEDIA_TYPES)}, found '{format}'.")
        query = {"mpp": mpp, "bundle": bundle, "precision": precision, "format": format}
        response = self._post(tile, query)
        if response.headers.get("Content-Type", "").partition(";")[0] != MEDIA_TYPES[format]:
            raise stranger(response)
        return response.content

    def prototypes(self, cluster: int, n: int = 16, seed: int = 0, bundle: str | None = None) -> PrototypesOut:
        """Cells of one cluster, drawn by the generator.

        Args:
            cluster: from 0.
            n: how many cells, 1 to 64.
            seed: 0 to 2³² − 1; the same seed gives the same cells.
            bundle: its name; None: the service's default.
        """
        query = {"n": n, "seed": seed, "bundle": bundle, "format": "json"}
        return read_answer(PrototypesOut, self._ask_patiently("GET", f"/prototypes/{cluster}", query))

    def bundles(self) -> BundlesOut:
        """Every bundle that can be served."""
        return read_answer(BundlesOut, self._ask("GET", "/bundles"))

    def bundle(self, name: str) -> BundleOut:
        """Model card, provenance, licence, metrics and checksums of one bundle."""
        return read_answer(BundleOut, self._ask("GET", f"/bundles/{quote(name, safe='')}"))

    def is_ready(self, bundle: str | None = None) -> bool:
        """Whether the service is there and can analyse with this bundle; raises nothing.

        Args:
            bundle: its name; None: the service's default.
        """
        try:
            self._ask("GET", "/readyz" if bundle is None else f"/bundles/{quote(bundle, safe='')}")
        except ServiceProblem:
            return False
        return True

    def _post(self, tile: TileSource, query: Mapping[str, object]) -> httpx.Response:
        return self._ask_patiently("POST", "/analyze", query, {"tile": ("tile", _file(tile))})

    def _ask_patiently(
        self,
        method: str,
        path: str,
        query: Mapping[str, object],
        files: Mapping[str, tuple[str, bytes]] | None = None,
    ) -> httpx.Response:
        """Ask for what takes a worker: again and again while all are busy."""
        given = {name: str(value) for name, value in query.items() if value is not None}
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return self._ask(method, path, given, files)
            except ServiceProblem as problem:
                if problem.status != 503 or problem.retry_after_s is None:
                    raise
                pause = max(problem.retry_after_s, MIN_PAUSE_S)
                # A bundle that cannot be served is a 503 too, which no waiting ends.
                if time.monotonic() + pause > deadline or not self.is_ready(given.get("bundle")):
                    raise
            time.sleep(pause)

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        files: Mapping[str, tuple[str, bytes]] | None = None,
    ) -> httpx.Response:
        """One request.

        Raises:
            ServiceProblem: the answer is not a success, or there is none.
        """
        try:
            response = self._http.request(method, path, params=query, files=files)
        except httpx.RequestError as error:
            # The chain would show pages of the connection's inner workings; the text says what went wrong.
            raise no_answer(error, self._http.base_url, self._timeout_s) from None
        if not response.is_success:
            raise problem_of(response)
        return response


def _file(tile: TileSource) -> bytes:
    """What to upload: the file as it is, or pixels as a PNG.

    Raises:
        OSError: it cannot be read.
        TypeError, ValueError: it is no tile.
    """
    if isinstance(tile, bytes):
        return tile
    if isinstance(tile, str | os.PathLike):
        return Path(tile).read_bytes()
    if isinstance(tile, np.ndarray):
        if tile.ndim != 3 or tile.shape[2] != 3 or tile.size == 0 or tile.dtype != np.uint8:
            raise ValueError(f"An array must be (H, W, 3) uint8, found {tile.shape} {tile.dtype}.")
        tile = Image.fromarray(tile)
    if not isinstance(tile, Image.Image):
        raise TypeError(f"A tile is a path, bytes, an array or a PIL image, found {type(tile).__name__}.")
    buffer = io.BytesIO()
    tile.save(buffer, "PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()
