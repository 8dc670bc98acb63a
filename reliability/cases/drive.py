"""The ways in which a case is put to the program (over HTTP, by the shell, as a batch). Each returns what came back."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import httpx

from bench import ROOT
from bench.process import clean_environment
from bench.server import Server
from reliability.normal_client import SAMPLE
from reliability.raw_client import BOUNDARY, END, FORM, PART, converse, request

PATIENCE_S = 300
"""Longest wait for a command or an answer; only a busy machine needs more than a tenth of it."""
PROXY = "http://proxy/tools/marrow/analyze"
"""The address of a tile's analysis behind a proxy that removes the path before it."""

Came = dict[str, Any]
Drive = Callable[[Path, Server], Came]
"""Put an input (the path of a case's file or folder) to the program, and return what came back, by name."""


def post(query: str = "", **form: str) -> Drive:
    """Post the tile, with a query and with further fields of the form."""

    def drive(path: Path, server: Server) -> Came:
        tile = path if path.is_file() else SAMPLE
        with httpx.Client(trust_env=False, timeout=PATIENCE_S) as client:
            answer = client.post(
                f"{server.url}/analyze?{query}", files={"tile": (tile.name, tile.read_bytes())}, data=form
            )
        return _answer(answer.status_code, answer.content)

    return drive


def post_form(body: Callable[[bytes], bytes], *, pieces: int = 1, pause_s: float = 0) -> Drive:
    """Post the sample tile in a form that is written by hand, in pieces with a pause after each.

    Args:
        body: makes the form from the tile.
        pieces: in how many parts of equal length the request is sent.
        pause_s: seconds of pause after each part.
    """

    def drive(_: Path, server: Server) -> Came:
        data = request(b"POST /analyze HTTP/1.1\r\n" + FORM, body(SAMPLE.read_bytes()))
        step = -(-len(data) // pieces)
        parts = [data[at : at + step] for at in range(0, len(data), step)]
        reply = asyncio.run(converse(int(server.url.rpartition(":")[2]), parts, pause_s))
        return _answer(reply.status, reply.body)

    return drive


def batch(*options: str) -> Drive:
    """Analyse the input as a batch of one slide; options that name a file lie beside the input."""

    def drive(path: Path, server: Server) -> Came:
        beside = [str(path.parent / option) if (path.parent / option).is_file() else option for option in options]
        return analysed_as_batch(path, *beside)

    return drive


def analysed_as_batch(path: Path, *options: str) -> Came:
    """Analyse a slide as a batch of its own, and return what the command printed and wrote."""
    with tempfile.TemporaryDirectory() as folder:
        done = _run("batch", str(path), "--out", folder, "--workers", "1", *options)
        return {**done, **_results(Path(folder))}


def shell(*arguments: str, **environment: str) -> Drive:
    """Run the command with these arguments."""

    def drive(path: Path, server: Server) -> Came:
        return _run(*arguments, **environment)

    return drive


def long_name(path: Path, server: Server) -> Came:
    """Analyse a folder of three tiles, the name of one of which leaves no room for an ending."""
    with tempfile.TemporaryDirectory() as folder:
        tiles, out = Path(folder) / "tiles", Path(folder) / "out"
        tiles.mkdir()
        for stem in ("a" * 240, "b", "c"):
            (tiles / f"{stem}.jpg").write_bytes(path.read_bytes())
        done = _run("analyze", str(tiles), "--out", str(out), "--format", "geojson")
        summary = (out / "summary.csv").read_text(encoding="utf-8") if (out / "summary.csv").is_file() else ""
        return {**done, "tiles_in_summary": len(summary.splitlines()) - 1, "files": _names(out)}


def by_proxy(path: Path, server: Server) -> Came:
    """Return where a client behind the proxy looks for the prototypes of a cluster."""
    url = post()(path, server)["clusters"][0]["prototypes_url"]
    return {"prototypes": urljoin(PROXY, url)}


def with_preamble(tile: bytes) -> bytes:
    """Return a form with a text before its first part, which a reader of MIME has to pass over (RFC 2046, 5.1.1)."""
    return b"This is a multi-part message in MIME format.\r\n" + PART + tile + END


def with_extended_name(tile: bytes) -> bytes:
    """Return a form whose part has its file's name in the extended notation alone (RFC 5987)."""
    disposition = b"Content-Disposition: form-data; name=\"tile\"; filename*=UTF-8''tile.png\r\n\r\n"
    return b"--" + BOUNDARY + b"\r\n" + disposition + tile + END


def as_form(tile: bytes) -> bytes:
    """Return an ordinary form."""
    return PART + tile + END


def found(came: Any, path: str) -> Any:
    """Return a member of what came back, such as `tile.mpp`; `flags` are the codes of quality.flags."""
    for name in path.split("."):
        came = [one.get(name) for one in came] if isinstance(came, list) else (came or {}).get(name)
    return came


def _answer(status: int | None, body: bytes) -> Came:
    came: Came = {"status": status}
    if body[:1] == b"{":
        came |= json.loads(body)
        came["status"] = status  # a problem's own status is the same
    return _with_flags(came)


def _with_flags(came: Came) -> Came:
    came["flags"] = [flag["code"] for flag in (found(came, "quality.flags") or [])]
    return came


def _run(*arguments: str, **environment: str) -> Came:
    done = subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT,
        env={**clean_environment(), **environment},
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return {"exit": done.returncode, "output": (done.stdout + done.stderr).decode("utf-8", "replace")}


def _results(out: Path) -> Came:
    """Return the summary of the one slide of a batch, the names of its regions, its cells, and the box they lie in."""
    summaries = list(out.glob("slides/*/summary.json"))
    if not summaries:
        return {}
    came: Came = json.loads(summaries[0].read_text(encoding="utf-8"))
    came["region_names"] = [region["name"] for region in came["regions"]]
    cells = json.loads((summaries[0].parent / "cells.geojson").read_text(encoding="utf-8"))
    came["features"] = cells["features"]
    points = [point for feature in cells["features"] for point in _points(feature["geometry"]["coordinates"])]
    xs, ys = zip(*points, strict=True) if points else ((), ())
    came["right_edge"], came["lower_edge"] = max(xs, default=None), max(ys, default=None)
    return _with_flags(came)


def _points(coordinates: Any) -> Iterator[tuple[float, float]]:
    if coordinates and isinstance(coordinates[0], (int, float)):
        yield coordinates[0], coordinates[1]
    else:
        for one in coordinates:
            yield from _points(one)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
