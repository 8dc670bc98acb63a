"""The Python client: it sends tiles to a running service and returns typed answers."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Mapping, Sequence
from operator import index
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ValidationError

from app import __version__
from app.answer.schemas import AnalysisOut, BundleOut, BundlesOut, Problem, PrototypesOut
from app.pipeline.networks.backend import Precision
from app.pipeline.types import UInt8Array

Answer = TypeVar("Answer", bound=BaseModel)
NucleiSource = str | os.PathLike[str] | bytes | NDArray[np.integer[Any]]
TileSource = str | os.PathLike[str] | bytes | UInt8Array | Image.Image
Part = tuple[str | None, bytes]
"""A part of a form: the name of its file, None for text; and its bytes."""
ExportFormat = Literal["geojson", "dsa", "csv", "overlay", "labels"]

# `app.answer.formats` has the table of formats, but would import the whole pipeline with it.
MEDIA_TYPES: Mapping[ExportFormat, str] = {
    "geojson": "application/geo+json",
    "dsa": "application/x.dsa-annotation+json",
    "csv": "text/csv",
    "overlay": "image/png",
    "labels": "image/png",
}
MAX_NUMBER = 2**16 - 1
"""Largest number of a label image of 16 bits."""
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
KEEP_ALIVE_S = 2.0
"""Seconds to keep a silent connection. The server closes it after 5 s, and it must not be used just then."""
MIN_PAUSE_S = 1
"""Least number of seconds between two attempts, even if Retry-After says fewer."""
PNG_LEVEL = 3
"""Compression level of PNG: Pillow's own, 6, takes five times as long for 6% fewer bytes."""


class ServiceProblem(Exception):
    """The service refused a request, or could not be reached. The text of the exception is the detail.

    Attributes:
        detail: what was wrong, in a sentence.
        status: HTTP status; None if there was no answer.
        title: the status in words; None if there was no answer.
        request_id: id of the request in the service's log; None if the answer did not come from the service.
        retry_after_s: seconds after which to try again; None if the answer did not say.
    """

    def __init__(
        self,
        detail: str,
        *,
        status: int | None = None,
        title: str | None = None,
        request_id: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.title = title
        self.request_id = request_id
        self.retry_after_s = retry_after_s


class Client:
    """A client of a running service. Threads may share it; close it, or use it in a `with` block.

    A tile is a path, the bytes of a PNG, JPEG or TIFF file, a (H, W, 3) uint8 RGB array, or a PIL image; arrays and PIL
    images are sent as PNG. The name of a file is not sent.

    Nuclei are a path or the bytes of GeoJSON or a label image, or a (H, W) array of whole numbers of the tile's size: 0
    is background, and each nucleus has a number of its own, up to 65,535.

    If the service is busy, the client waits as long as Retry-After says and sends the tile again, for at most
    `timeout_s`.

    Every method but `is_ready` raises ServiceProblem if the service refuses the request or cannot be reached.

    Args:
        url: address of the service.
        api_key: a key of the service, if it asks for one.
        timeout_s: seconds to wait for an answer, and at most as many again while the service is busy.

    Raises:
        ValueError: `url` is not an http address, or `timeout_s` is not above 0.

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
            # The key is sent as bytes, because it need not be ASCII. A line break at its end comes from a file.
            headers={} if api_key is None else {b"X-API-Key": api_key.strip().encode()},
            timeout=timeout_s,
            limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE_S),
            # The environment may name a proxy. A tile for this machine must not go there.
            mounts={f"all://{host}": None for host in LOOPBACK},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client cannot be used after that."""
        self._http.close()

    def analyze(
        self,
        tile: TileSource,
        *,
        mpp: float | None = None,
        bundle: str | None = None,
        prototypes: int = 0,
        precision: Precision = "fast",
        nuclei: NucleiSource | None = None,
        measurements: bool = True,
        features: bool = False,
        corrections: Mapping[str, Sequence[int]] | None = None,
        reviewer: str | None = None,
        cells_sha256: str | None = None,
    ) -> AnalysisOut:
        """Find the cells of a tile, their clusters and proportions, and the tile's label.

        Args:
            tile: a path, bytes, an array or a PIL image, as the class describes.
            mpp: µm per pixel of the tile, 0.05 to 4; None takes what the file says, or else the bundle's scale.
            bundle: name of the bundle; None for the service's default.
            prototypes: number of prototype cells per cluster to embed, 0 to 16.
            precision: precision of the network that sorts the cells. full is exact; fast uses 8-bit integers and gives
                nearly the same.
            nuclei: nuclei to take instead of seeking them, as the class describes; None to seek them.
            measurements: whether each cell has its measurements; docs/measurements.md defines them.
            features: whether to ask what the bundle's encoder sees of each cell. The `features` of the answer are then
                (N, F) float32; cells that look alike have features that are close. The service refuses it where the
                bundle has no encoder.
            corrections: types that a person gives to cells, in place of those that the bundle found: the numbers of the
                cells by the name of the type, as in `{"Plasma cell": [12, 40]}`. None corrects nothing.
            reviewer: who corrects them. Where the service asks for keys, it is the name of the key.
            cells_sha256: that of the answer whose cells were looked at. The service refuses the corrections if the
                bundle has changed since, or the numbers mean other cells. None does not check that.

        Raises:
            ServiceProblem: the service refuses the tile, its nuclei or a parameter, or cannot be reached.
            OSError: the tile or its nuclei cannot be read.
            TypeError, ValueError: `tile` is not a tile, or `nuclei` are no nuclei.
        """
        query = {
            "mpp": mpp,
            "bundle": bundle,
            "prototypes": prototypes,
            "precision": precision,
            "measurements": measurements,
            "features": features or None,  # a service of an earlier version knows no such parameter
            "reviewer": reviewer,
            "cells_sha256": cells_sha256,
        }
        return _read_answer(AnalysisOut, self._post(tile, nuclei, query, corrections))

    def export(
        self,
        tile: TileSource,
        format: ExportFormat,
        *,
        mpp: float | None = None,
        bundle: str | None = None,
        precision: Precision = "fast",
        nuclei: NucleiSource | None = None,
        measurements: bool = True,
        corrections: Mapping[str, Sequence[int]] | None = None,
        reviewer: str | None = None,
        cells_sha256: str | None = None,
    ) -> bytes:
        """Analyse a tile, and return the bytes of a file.

        Args:
            tile: a path, bytes, an array or a PIL image, as the class describes.
            format: geojson holds detections for QuPath; dsa an annotation for HistomicsUI; csv a row for each cell;
                overlay is a PNG of the tile with outlines; labels a 16-bit PNG, where 0 is background and i + 1 is
                cell i.
            mpp: µm per pixel of the tile, as for `analyze`.
            bundle: name of the bundle, as for `analyze`.
            precision: precision of the network, as for `analyze`.
            nuclei: nuclei to take instead of seeking them, as for `analyze`.
            measurements: whether GeoJSON, annotation and CSV hold the measurements of every cell.
            corrections: types that a person gives to cells, as for `analyze`.
            reviewer: who corrects them, as for `analyze`.
            cells_sha256: on which cells they were made, as for `analyze`.

        Raises:
            ServiceProblem: the service refuses the tile, its nuclei or a parameter, or cannot be reached.
            OSError: the tile or its nuclei cannot be read.
            TypeError, ValueError: `tile` is not a tile, `nuclei` are no nuclei, or there is no such format.

        Example:
            >>> Path("cells.csv").write_bytes(service.export("tile.png", "csv", mpp=0.25))
        """
        if format not in MEDIA_TYPES:
            raise ValueError(f"format must be one of {', '.join(MEDIA_TYPES)}, found '{format}'.")
        query = {
            "mpp": mpp,
            "bundle": bundle,
            "precision": precision,
            "format": format,
            "measurements": measurements,
            "reviewer": reviewer,
            "cells_sha256": cells_sha256,
        }
        response = self._post(tile, nuclei, query, corrections)
        if response.headers.get("Content-Type", "").partition(";")[0] != MEDIA_TYPES[format]:
            raise _unexpected(response)
        return response.content

    def prototypes(self, cluster: int, n: int = 16, seed: int = 0, bundle: str | None = None) -> PrototypesOut:
        """Draw cells of one cluster with the bundle's generator.

        Args:
            cluster: number of the cluster, from 0.
            n: number of cells, 1 to 64.
            seed: seed of the noise, 0 to 2³² − 1; the same seed gives the same cells.
            bundle: name of the bundle; None for the service's default.
        """
        query = {"n": n, "seed": seed, "bundle": bundle, "format": "json"}
        return _read_answer(PrototypesOut, self._ask_patiently("GET", f"/prototypes/{cluster}", query))

    def bundles(self) -> BundlesOut:
        """List the bundles that the service can use."""
        return _read_answer(BundlesOut, self._ask("GET", "/bundles"))

    def bundle(self, name: str) -> BundleOut:
        """Return the model card, provenance, licence, metrics and checksums of one bundle."""
        return _read_answer(BundleOut, self._ask("GET", f"/bundles/{quote(name, safe='')}"))

    def is_ready(self, bundle: str | None = None) -> bool:
        """Return whether the service can be reached and can analyse with this bundle. It raises nothing.

        Args:
            bundle: name of the bundle; None for the service's default.
        """
        try:
            self._ask("GET", "/readyz" if bundle is None else f"/bundles/{quote(bundle, safe='')}")
        except ServiceProblem:
            return False
        return True

    def _post(
        self,
        tile: TileSource,
        nuclei: NucleiSource | None,
        query: Mapping[str, object],
        corrections: Mapping[str, Sequence[int]] | None,
    ) -> httpx.Response:
        parts: dict[str, Part] = {"tile": ("tile", _file(tile))}
        if nuclei is not None:
            parts["nuclei"] = ("nuclei", _nuclei_file(nuclei))
        if corrections is not None:  # A part without the name of a file is text.
            given = {name: [index(number) for number in numbers] for name, numbers in corrections.items()}
            parts["corrections"] = (None, json.dumps(given).encode())
        return self._ask_patiently("POST", "/analyze", query, parts)

    def _ask_patiently(
        self,
        method: str,
        path: str,
        query: Mapping[str, object],
        files: Mapping[str, Part] | None = None,
    ) -> httpx.Response:
        """Send a request that needs a worker, again and again while all workers are busy."""
        given = {name: str(value) for name, value in query.items() if value is not None}
        deadline = time.monotonic() + self._timeout_s
        while True:
            try:
                return self._ask(method, path, given, files)
            except ServiceProblem as problem:
                if problem.status != 503 or problem.retry_after_s is None:
                    raise
                pause = max(problem.retry_after_s, MIN_PAUSE_S)
                # A bundle that cannot be served is a 503, too, and waiting does not help then.
                if time.monotonic() + pause > deadline or not self.is_ready(given.get("bundle")):
                    raise
            time.sleep(pause)

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        files: Mapping[str, Part] | None = None,
    ) -> httpx.Response:
        """Send one request.

        Raises:
            ServiceProblem: the response is not a success, or there is none.
        """
        try:
            response = self._http.request(method, path, params=query, files=files)
        except httpx.RequestError as error:
            # The exception is not chained: its traceback would show pages of the connection's inner workings.
            raise _no_answer(error, self._http.base_url, self._timeout_s) from None
        if not response.is_success:
            raise _problem_of(response)
        return response


def _file(tile: TileSource) -> bytes:
    """Return the bytes to upload: a file as it is, or pixels as a PNG.

    Raises:
        OSError: the file cannot be read.
        TypeError, ValueError: `tile` is not a tile.
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
    return _png(tile)


def _nuclei_file(nuclei: NucleiSource) -> bytes:
    """Return the bytes to upload: a file as it is, or a label image as a PNG of 16 bits.

    Raises:
        OSError: the file cannot be read.
        TypeError, ValueError: `nuclei` are no nuclei.
    """
    if isinstance(nuclei, bytes):
        return nuclei
    if isinstance(nuclei, str | os.PathLike):
        return Path(nuclei).read_bytes()
    if not isinstance(nuclei, np.ndarray):
        raise TypeError(f"Nuclei are a path, bytes or an array, found {type(nuclei).__name__}.")
    if nuclei.ndim != 2 or nuclei.size == 0 or nuclei.dtype.kind not in "iu":
        raise ValueError(f"An array of nuclei must be (H, W) whole numbers, found {nuclei.shape} {nuclei.dtype}.")
    if nuclei.min() < 0 or nuclei.max() > MAX_NUMBER:
        raise ValueError(f"The numbers of nuclei must be 0 to {MAX_NUMBER}, found {nuclei.min()} to {nuclei.max()}.")
    return _png(Image.fromarray(nuclei.astype(np.uint16)))


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()


def _read_answer(model: type[Answer], response: httpx.Response) -> Answer:
    """Read an answer. Fields that this version does not know are left out, because a newer service may have more.

    Args:
        model: schema of the answer.
        response: a response with a success status.

    Raises:
        ServiceProblem: the response is not such an answer.
    """
    try:
        return model.model_validate_json(response.content, extra="ignore")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        # The exception is not chained: its traceback would show a page about every field.
        raise _unexpected(response, f"{where}: {first['msg']}" if where else first["msg"]) from None


def _problem_of(response: httpx.Response) -> ServiceProblem:
    """Return the problem that a response without a success status reports."""
    try:
        problem = Problem.model_validate_json(response.content)
    except ValidationError:
        return _unexpected(response)
    after = response.headers.get("Retry-After", "")
    return ServiceProblem(
        problem.detail,
        status=problem.status,
        title=problem.title,
        request_id=problem.request_id,
        retry_after_s=int(after) if after.isdecimal() else None,
    )


def _unexpected(response: httpx.Response, reason: str = "") -> ServiceProblem:
    """Return the problem of a response that this version of the service does not give.

    Args:
        response: the response.
        reason: what is wrong with it; without it, its content type is named.
    """
    found = reason or response.headers.get("Content-Type", "no content type")
    return ServiceProblem(
        f"{response.url.copy_with(userinfo=b'')} answered {response.status_code} {response.reason_phrase}, but not as "
        f"Marrowscope {__version__} does ({found}). Is a proxy, another program or another version at this address?",
        status=response.status_code,
        title=response.reason_phrase,
        request_id=response.headers.get("X-Request-ID"),
    )


def _no_answer(error: httpx.RequestError, address: httpx.URL, timeout_s: float) -> ServiceProblem:
    """Return the problem of a request that got no response.

    Args:
        error: what went wrong.
        address: address of the service.
        timeout_s: how long the client waited, s.
    """
    # The address may hold a password, which is left out.
    shown = address.copy_with(userinfo=b"")
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return ServiceProblem(
            f"No service can be reached at {shown} ({reason}). Start it with `make run` in its repository or with "
            "`marrowscope serve`, or give Client the url of one that runs."
        )
    if isinstance(error, httpx.TimeoutException):
        return ServiceProblem(f"{shown} gave no answer within {timeout_s:g} s; a larger timeout_s waits longer.")
    return ServiceProblem(f"The connection to {shown} broke off ({reason}); try again.")
