"""The requests of the soak: good ones and bad ones, in every format, and clients that hang up."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image

from bench.tiles import UInt8Array, drawn, to_png
from reliability.normal_client import SAMPLE

HangUp = Literal["in the body", "before the answer", "in the answer"]
MAX_BYTES = 3 * 1024**2
"""Largest upload that the service of the soak accepts; it is small, so that a larger one is sent quickly."""
BOUNDARY = "----------------marrow"
TOO_LONG = 10**9
"""Bytes that a request declares and never sends."""


@dataclass(frozen=True)
class Case:
    """One request, which always has the same bytes.

    Attributes:
        name: describes the request; no two cases share a name.
        raw: head and body as they are sent.
        method: HTTP method, which decides whether the answer has a body.
        hang_up: the point at which the client hangs up; None if it waits for the answer.
        weight: how often the request is sent, relative to the weights of all cases.
        is_good: whether the service has to fulfil the request; any other may be refused.
    """

    name: str
    raw: bytes
    method: str = "POST"
    hang_up: HangUp | None = None
    weight: int = 2
    is_good: bool = False


def get(target: str, weight: int = 1, method: str = "GET") -> Case:
    """Return a request without a body."""
    return Case(
        f"{method} {target}", f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode(), method, None, weight
    )


def post(
    name: str,
    file: bytes,
    query: str = "",
    *,
    field: str = "tile",
    accept: str = "*/*",
    declared: int | None = None,
    hang_up: HangUp | None = None,
    weight: int = 2,
) -> Case:
    """Return an upload to /analyze.

    Args:
        name: name of the case.
        file: bytes of the file.
        query: query string with its question mark.
        field: name of the form's field.
        accept: Accept header.
        declared: Content-Length to declare instead of the body's; the body is then only sent when the server asks.
        hang_up: see `Case`.
        weight: see `Case`.
    """
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="t"\r\n\r\n'.encode()
    body = head + file + f"\r\n--{BOUNDARY}--\r\n".encode()
    lines = (
        f"POST /analyze{query} HTTP/1.1",
        "Host: localhost",
        f"Accept: {accept}",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        f"Content-Length: {len(body) if declared is None else declared}",
        *(() if declared is None else ("Expect: 100-continue",)),
    )
    raw = "\r\n".join((*lines, "", "")).encode() + (body if declared is None else b"")
    return Case(name, raw, hang_up=hang_up, weight=weight)


def mix() -> list[Case]:
    """Return every case; the result is the same each time."""
    sample, canvas = SAMPLE.read_bytes(), drawn(900, seed=1)
    good = (replace(case, is_good=True) for case in _good(sample, canvas))
    return [*good, *_bad(sample, canvas), *_hanging_up(sample), *_without_a_body()]


def _good(sample: bytes, canvas: UInt8Array) -> Sequence[Case]:
    formats = [
        post(f"sample, {name}", sample, f"?format={name}", weight=3)
        for name in ("json", "geojson", "csv", "overlay", "labels", "tile")
    ]
    return [
        *formats,
        post("sample, prototypes", sample, "?prototypes=4"),
        post("sample, full precision", sample, "?precision=full"),
        post("sample, another scale", sample, "?mpp=0.5"),
        post("sample, CSV by Accept", sample, accept="text/csv;q=0.9, application/json;q=0.1"),
        post("drawn, 200 × 240, PNG", to_png(canvas[:200, :240])),
        post("drawn, 400 × 400, JPEG", encoded(canvas[:400, :400], "JPEG")),
        post("drawn, 600 × 800, TIFF", encoded(canvas[:600, :800], "TIFF")),
        post("drawn, 1200 × 1200, PNG", to_png(canvas), weight=1),
        post("white", to_png(np.full((300, 300, 3), 255, np.uint8))),
    ]


def _bad(sample: bytes, canvas: UInt8Array) -> Sequence[Case]:
    small = to_png(canvas[:200, :240])
    deep, huge = io.BytesIO(), io.BytesIO()
    Image.new("I;16", (64, 64)).save(deep, "PNG")
    Image.new("1", (20_000, 1_000)).save(huge, "PNG")
    queries = ("mpp=abc", "mpp=-1", "prototypes=99", "format=xml", "bundle=../etc", "precision=none")
    return [
        *(post(f"bad parameter, {query}", small, f"?{query}") for query in queries),
        post("a text", b"This is no image.\n" * 50),
        post("an empty file", b""),
        post("a truncated PNG", sample[: len(sample) // 2]),
        post("16 bits", deep.getvalue()),
        post("too many pixels", huge.getvalue()),
        post("too many bytes, declared", b"", declared=TOO_LONG),
        post("too many bytes, sent", bytes(MAX_BYTES), weight=1),
        post("another field", small, field="image"),
        post("Accept that cannot be given", small, accept="application/x-nothing"),
        post("Accept that makes no sense", small, accept=";;q=z,,/*/, \x7f/{}"),
    ]


def _hanging_up(sample: bytes) -> Sequence[Case]:
    places: tuple[HangUp, ...] = ("in the body", "before the answer", "in the answer")
    return [post(f"hangs up {place}", sample, hang_up=place) for place in places]


def _without_a_body() -> Sequence[Case]:
    targets = (
        "/livez",
        "/readyz",
        "/bundles",
        "/bundles/marrow",
        "/bundles/marrow/sample",
        "/prototypes?format=json",
        "/prototypes/2?n=4&seed=7",
        "/prototypes/99",
        "/nothing",
        "/analyze",
    )
    return [*(get(target) for target in targets), get("/livez", method="DELETE"), get("/analyze", method="HEAD")]


def encoded(pixels: UInt8Array, image_format: str) -> bytes:
    """Encode (H, W, 3) uint8 pixels with Pillow's default options."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, image_format)
    return buffer.getvalue()
