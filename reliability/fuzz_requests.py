"""Requests for POST /analyze and its neighbours, from well-formed ones with a damaged tile to what is no HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, quote_from_bytes

from reliability.fuzz_files import damaged
from reliability.fuzz_texts import BOUNDARY, CONTENT_TYPES, DISPOSITION, NAMES, PART_HEADERS, TEXTS
from reliability.mutate import ANYWHERE, NUMBERS, Rng, mutated, number, pick

Kind = Literal["file", "form", "query"]
SHARES: dict[Kind, float] = {"file": 0.6, "form": 0.25, "query": 0.15}
PATHS = ("/analyze", "/prototypes", "/prototypes/{}", "/bundles", "/bundles/{}", "/bundles/{}/sample", "/{}", "/web/{}")


@dataclass(frozen=True)
class Ask:
    """One request.

    Attributes:
        kind: what is wrong with it.
        method: of HTTP.
        path: without its query.
        data: all of its bytes.
        is_whole: it is HTTP and complete, so that a whole answer is due.
    """

    kind: Kind
    method: str
    path: str
    data: bytes
    is_whole: bool = True


def ask(corpus: Sequence[bytes], rng: Rng) -> Ask:
    """One of the three kinds, by their SHARES."""
    kind = list(SHARES)[int(rng.choice(len(SHARES), p=list(SHARES.values())))]
    if kind == "query":
        return _query(corpus, rng)
    if kind == "form":
        return _form(pick(corpus, rng), rng)
    query = pick(("", "", "", "?format=overlay", "?format=labels", "?format=tile", "?mpp=0.5", "?precision=full"), rng)
    return post(damaged(corpus, rng), query)


def post(tile: bytes, query: str = "") -> Ask:
    """A well-formed upload."""
    return Ask(
        "file", "POST", "/analyze", _http("POST", f"/analyze{query}".encode(), _multipart([(DISPOSITION, tile)]))
    )


def _multipart(parts: Sequence[tuple[bytes, bytes]], end: bytes = b"--") -> bytes:
    body = b"".join(b"--" + BOUNDARY + b"\r\n" + head + b"\r\n\r\n" + tile + b"\r\n" for head, tile in parts)
    return body + b"--" + BOUNDARY + end + b"\r\n"


def _http(
    method: str,
    target: bytes,
    body: bytes = b"",
    length: int | None = None,
    content_type: bytes = b"multipart/form-data; boundary=" + BOUNDARY,
) -> bytes:
    lines = [method.encode() + b" " + target + b" HTTP/1.1", b"Host: x", b"Connection: close"]
    lines += [b"Content-Type: " + content_type, b"Content-Length: %d" % (len(body) if length is None else length)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _form(tile: bytes, rng: Rng) -> Ask:
    """An undamaged tile in a form that is wrong in one way."""
    part, body = (DISPOSITION, tile), _multipart([(DISPOSITION, tile)])
    wrong = int(rng.integers(7))
    if wrong == 0:
        body = mutated(body, ANYWHERE, rng)
    elif wrong == 1:
        body = _multipart([(pick(PART_HEADERS, rng), tile)])
    elif wrong == 2:
        extra = [
            (pick((*PART_HEADERS, DISPOSITION), rng), rng.bytes(int(rng.integers(100))))
            for _ in range(pick((1, 2, 60), rng))
        ]
        body = _multipart([*extra, part] if rng.random() < 0.5 else [part, *extra])
    elif wrong == 3:
        body = _multipart([part], end=pick((b"", b"-", b"x", b"--x", b"--\0"), rng))[: -int(rng.integers(1, 40))]
    elif wrong == 4:
        head = DISPOSITION + b"\r\nContent-Type: multipart/mixed; boundary=" + BOUNDARY
        body = _multipart([(head, _multipart([part] * 3))])
    elif wrong == 5:
        length = pick((0, 1, len(body) - 1, len(body) + 1, len(body) + 1000), rng)
        return Ask("form", "POST", "/analyze", _http("POST", b"/analyze", body, length), is_whole=length <= len(body))
    else:
        data = _http("POST", b"/analyze", body, content_type=pick(CONTENT_TYPES, rng))
        return Ask("form", "POST", "/analyze", data)
    return Ask("form", "POST", "/analyze", _http("POST", b"/analyze", body))


def _query(corpus: Sequence[bytes], rng: Rng) -> Ask:
    """Odd names and values in the path and the query, percent-encoded as they should be, or raw."""
    path = pick(PATHS, rng).format(quote(_text(rng), safe=""))
    names = [pick(NAMES, rng) for _ in range(int(rng.integers(1, 4)))]
    query = "&".join(f"{quote(name)}={quote(_text(rng), safe='')}" for name in names)
    if rng.random() < 0.1:
        query += "&bundle=" + quote_from_bytes(rng.bytes(6))
    method = "POST" if path == "/analyze" else "GET"
    body = _multipart([(DISPOSITION, pick(corpus, rng))]) if method == "POST" else b""
    target = f"{path}?{query}".encode()
    if rng.random() < 0.1:
        return Ask("query", method, path, mutated(_http(method, target, body), ANYWHERE, rng), is_whole=False)
    return Ask("query", method, path, _http(method, target, body))


def _text(rng: Rng) -> str:
    """A number or a text that something may stumble over."""
    choice = rng.random()
    if choice < 0.4:
        return str(pick(NUMBERS, rng) if choice < 0.2 else number(rng, 8) / 2**20 * pick((-1, 1), rng))
    return pick(TEXTS, rng)
