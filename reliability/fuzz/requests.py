"""Requests of the fuzzer: damaged tiles, wrong forms, and odd paths and queries, some of which are no valid HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, quote_from_bytes

from reliability.fuzz.corpus import damaged
from reliability.fuzz.mutations import ANYWHERE, NUMBERS, Rng, mutated, number, pick

Kind = Literal["file", "form", "query"]
SHARES: dict[Kind, float] = {"file": 0.6, "form": 0.25, "query": 0.15}
PROTOTYPES = ("n", "seed", "bundle", "format")
PATHS = {
    "/analyze": ("mpp", "prototypes", "bundle", "format", "precision"),
    "/prototypes": PROTOTYPES,
    "/prototypes/{}": PROTOTYPES,
    **dict.fromkeys(("/bundles", "/bundles/{}", "/bundles/{}/sample", "/{}", "/web/{}"), ()),
}
"""The parameters of each path. Unknown ones are refused before any value is looked at, so most requests have these."""

# Each of the following has made a parser fail somewhere.
BOUNDARY = b"----marrow"
DISPOSITION = b'Content-Disposition: form-data; name="tile"; filename="tile.png"'
NUCLEI_DISPOSITION = b'Content-Disposition: form-data; name="nuclei"; filename="nuclei.geojson"'
NUCLEI = (
    b'[{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[0,0],[9.5,0],[9,9],[0,9],[0,0]]]}},{"geometry":'
    b'{"type":"MultiPolygon","coordinates":[[[[3,3],[1e2,3],[50,50]]]]},"properties":{"objectType":"cell"}}]'
)
PART_HEADERS = (
    b'Content-Disposition: form-data; name="tile"',
    b'Content-Disposition: form-data; name="tile"; filename=""',
    b'Content-Disposition: form-data; name=""; filename="a"',
    b'Content-Disposition: form-data; filename="a"',
    b"Content-Disposition: attachment",
    b"Content-Disposition: form-data; name*=utf-8''tile; filename*=utf-8''%ff",
    b"Content-Disposition: " + b"x" * 9000,
    'Content-Disposition: form-data; name="tile"; filename="\U0001f9ec\u202e\u0000.png"'.encode(),
    b'Content-Disposition: form-data; name="tile"; filename="../../etc/passwd"',
    DISPOSITION + b"\r\nContent-Type: multipart/mixed; boundary=inner",
    DISPOSITION + b"\r\nContent-Transfer-Encoding: base64",
    DISPOSITION + b"\r\nContent-Length: 99999999",
    DISPOSITION + b"\r\nX: " + b"y" * 5000,
    DISPOSITION + b"\nContent-Type image/png",
    b"",
)
CONTENT_TYPES = (
    b"multipart/form-data",
    b"multipart/form-data; boundary=",
    b'multipart/form-data; boundary="' + BOUNDARY + b'"',
    b"multipart/form-data; boundary=" + b"b" * 500,
    b"multipart/form-data; boundary=" + BOUNDARY + b"; boundary=other",
    b"multipart/form-data; charset=nonsense; boundary=" + BOUNDARY,
    b"multipart/form-data; charset=utf-16; boundary=" + BOUNDARY,
    b"multipart/mixed; boundary=" + BOUNDARY,
    b"application/x-www-form-urlencoded",
    b"application/json",
    b"image/png",
    b"",
)
ODD_NAMES = ("mpp", "seed", "cluster", "MPP", "m\u0301pp", "")
TEXTS = (
    "",
    "0",
    "-0",
    "nan",
    "inf",
    "1e400",
    "0x10",
    "1_0",
    "٣",
    "½",
    "null",
    "true",
    "[]",
    "{}",
    "fast",
    "json",
    "0.25",
    "marrow",
    "mаrrow",
    "marrow\u200b",
    "ｍarrow",
    "..",
    "/",
    "\\",
    "%",
    "%00",
    "\x00",
    "\n",
    "\u202e",
    "\U0001f9ec",
    "\ufeff",
    "\ud7ff",
    "e\u0301" * 50,
    "9" * 400,
    "1." + "0" * 400,
    "a" * 3000,
    "' OR 1=1",
    "${jndi:x}",
    "*/*",
    "16",
)


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        kind: the part of the request that is wrong.
        method: HTTP method.
        path: path without the query.
        data: all bytes of the request.
        is_whole: whether it is complete and valid HTTP, so that a whole answer is due.
    """

    kind: Kind
    method: str
    path: str
    data: bytes
    is_whole: bool = True


def random_request(corpus: Sequence[bytes], rng: Rng) -> Request:
    """Return a request of one of the three kinds, drawn by their SHARES."""
    kind = list(SHARES)[int(rng.choice(len(SHARES), p=list(SHARES.values())))]
    if kind == "query":
        return _query(corpus, rng)
    if kind == "form":
        return _form(pick(corpus, rng), rng)
    query = pick(("", "", "", "?format=overlay", "?format=labels", "?format=tile", "?mpp=0.5", "?precision=full"), rng)
    return post(damaged(corpus, rng), query)


def post(tile: bytes, query: str = "") -> Request:
    """Return a well-formed upload."""
    return Request(
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
    lines = [method.encode() + b" " + target + b" HTTP/1.1", b"Host: 127.0.0.1", b"Connection: close"]
    lines += [b"Content-Type: " + content_type, b"Content-Length: %d" % (len(body) if length is None else length)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def _form(tile: bytes, rng: Rng) -> Request:
    """Return an undamaged tile in a form that is wrong in one way, or with damaged nuclei."""
    part, body = (DISPOSITION, tile), _multipart([(DISPOSITION, tile)])
    wrong = int(rng.integers(8))
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
        body = _multipart([part, (NUCLEI_DISPOSITION, mutated(NUCLEI, ANYWHERE, rng))])
    elif wrong == 6:
        length = pick((0, 1, len(body) - 1, len(body) + 1, len(body) + 1000), rng)
        return Request(
            "form", "POST", "/analyze", _http("POST", b"/analyze", body, length), is_whole=length <= len(body)
        )
    else:
        data = _http("POST", b"/analyze", body, content_type=pick(CONTENT_TYPES, rng))
        return Request("form", "POST", "/analyze", data)
    return Request("form", "POST", "/analyze", _http("POST", b"/analyze", body))


def _query(corpus: Sequence[bytes], rng: Rng) -> Request:
    """Return a request with odd names and values in its path and query, percent-encoded; one in ten is damaged."""
    template = pick(list(PATHS), rng)
    path = template.format(quote(_text(rng), safe=""))
    own = PATHS[template]
    names = list(rng.permutation(own)[: int(rng.integers(1, 4))]) if own else []
    if rng.random() < 0.2:
        names.append(pick(ODD_NAMES, rng))
    query = "&".join(f"{quote(name)}={quote(_text(rng), safe='')}" for name in names)
    if rng.random() < 0.1:
        query += "&bundle=" + quote_from_bytes(rng.bytes(6))
    method = "POST" if path == "/analyze" else "GET"
    body = _multipart([(DISPOSITION, pick(corpus, rng))]) if method == "POST" else b""
    target = f"{path}?{query}".encode()
    if rng.random() < 0.1:
        return Request("query", method, path, mutated(_http(method, target, body), ANYWHERE, rng), is_whole=False)
    return Request("query", method, path, _http(method, target, body))


def _text(rng: Rng) -> str:
    """Return a number or a text that a parser may fail on."""
    choice = rng.random()
    if choice < 0.4:
        return str(pick(NUMBERS, rng) if choice < 0.2 else number(rng, 8) / 2**20 * pick((-1, 1), rng))
    return pick(TEXTS, rng)
