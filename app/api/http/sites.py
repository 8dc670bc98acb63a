"""Refuse what another web page asks of the service through the browser of somebody who may use it.

A browser sends such requests on its own: a form or a script of any page may post to 127.0.0.1, and a page whose name is
made to resolve to 127.0.0.1 (DNS rebinding) may read the answer, too. Programs outside a browser name no page.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import HTTPException, Request

from app.access.binding import is_loopback
from app.settings import Settings

OWN_SITES = ("same-origin", "none")
"""Values of Sec-Fetch-Site of the service's own page, and of what a person enters or opens (W3C Fetch Metadata)."""
MAX_SHOWN = 80
"""Characters of a header that the problem repeats."""


def refuse_other_sites(request: Request) -> None:
    """Refuse a request that another web page has caused.

    Without keys, the header Host must be a name of this machine if the service listens on this machine alone, or one of
    the allowed names if there are any. With keys, no other page can send one, and any name is right.

    Raises:
        HTTPException: 403, Host is another name, or another page asks.
    """
    settings: Settings = request.app.state.settings
    host = request.headers.get("host")
    is_named = bool(settings.allowed_hosts) or is_loopback(settings.host)
    if host is not None and is_named and not request.app.state.keyring.asks and not _is_allowed(host, settings):
        raise HTTPException(
            403,
            "Without keys, the service answers under the names 127.0.0.1 and localhost and those of the setting "
            f"MARROWSCOPE_ALLOWED_HOSTS, found Host: {host[:MAX_SHOWN]}",
        )
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    is_own = site in OWN_SITES if site is not None else origin is None or _is_own(origin, host or "", settings)
    if not is_own:
        found = f"Origin: {origin[:MAX_SHOWN]}" if origin else f"Sec-Fetch-Site: {site}"[:MAX_SHOWN]
        raise HTTPException(
            403,
            f"Another web page asked ({found}), and the service answers only its own page and programs. If the page is "
            "the service's own, behind a proxy, let the proxy pass the header Host, or name the page's host in the "
            "setting MARROWSCOPE_ALLOWED_HOSTS.",
        )


def _is_allowed(host: str, settings: Settings) -> bool:
    """Return whether a header Host is a name of this machine or an allowed one; its port does not matter."""
    name, _ = _place(f"//{host}")
    return is_loopback(name) or name in settings.allowed_names


def _is_own(origin: str, host: str, settings: Settings) -> bool:
    """Return whether the page of an Origin comes from the service: from the name and port of Host, or an allowed host.

    A proxy may leave the port out of Host; every port of that name is the service's own then.
    """
    (page, page_port), (service, port) = _place(origin), _place(f"//{host}")
    return page != "" and (page in settings.allowed_names or (page == service and port in (None, page_port)))


def _place(url: str) -> tuple[str, int | None]:
    """Return the name and port of a URL: an empty name if it has none, and no port if neither it nor its scheme has."""
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", None
