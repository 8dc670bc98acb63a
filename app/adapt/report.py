"""The report of an adaptation: one page of HTML that says what differs, and what came of it."""

from __future__ import annotations

import base64
from functools import cache

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from app.adapt.adapted import Adapted
from app.adapt.tiles import Found
from app.answer.schemas import NOTICE
from app.pipeline.presets import AMOUNT_PERCENTILES, Appearance
from app.pipeline.quality.assess import HARMLESS
from app.pipeline.stain.transfer import transferred
from app.pipeline.types import UInt8Array

PICTURES = 4
"""So many tiles are shown."""
PICTURE_PX = 320
"""Edge of a picture, px at the bundle's scale."""
SWATCH_DENSITY = 120.0
"""The optical density at which a stain is shown, 0 to 255."""
MEDIAN, HIGH = AMOUNT_PERCENTILES.index(50), AMOUNT_PERCENTILES.index(95)


def write_report(adapted: Adapted) -> bytes:
    """Return the page, as UTF-8. It holds pictures of a few of the tiles, and loads nothing."""
    transfer = adapted.manifest.segmentation.stain.transfer
    look = adapted.look
    shown = np.linspace(0, len(look.middles) - 1, min(PICTURES, len(look.middles))).astype(int)
    flags = sorted({*adapted.before.flags, *adapted.after.flags})
    clusters = range(adapted.manifest.n_clusters)
    described = adapted.manifest.descriptions.clusters if adapted.manifest.descriptions else ()
    names = adapted.manifest.cluster_names.clusters if adapted.manifest.cluster_names else ()
    page = _environment().get_template("report.html")
    text = page.render(
        notice=NOTICE,
        adapted=adapted,
        n_tiles=len(adapted.tiles),
        looks=_looks(adapted),
        pictures=[
            tuple(_png(_cut(picture)) for picture in (look.middles[i], transferred(look.middles[i], transfer)))
            for i in shown
        ],
        sharpening=transfer.sharpening if transfer else 0.0,
        flags=[(code, code not in HARMLESS, adapted.before.flags[code], adapted.after.flags[code]) for code in flags],
        labels=[
            (label, adapted.before.labels[label], adapted.after.labels[label])
            for label in ("normal", "abnormal", "indeterminate")
        ],
        clusters=[
            (
                names[k] if names else f"Cluster {k}",
                described[k].sentence if described else "",
                _share(adapted.before, k),
                _share(adapted.after, k),
            )
            for k in clusters
        ],
    )
    return text.encode()


def _looks(adapted: Adapted) -> list[tuple[str, Appearance]]:
    target = adapted.source.manifest.appearance
    known = [] if target is None else [("Training tiles", target)]
    return [*known, ("These tiles", adapted.look.appearance)]


def _share(found: Found, cluster: int) -> str:
    share = found.proportions[cluster]
    return f"{share:.1%}" if np.isfinite(share) else "–"


def _cut(picture: UInt8Array) -> UInt8Array:
    return np.ascontiguousarray(picture[:PICTURE_PX, :PICTURE_PX])


def _png(picture: UInt8Array) -> str:
    encoded = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]
    return base64.b64encode(encoded.tobytes()).decode()


def _swatch(appearance: Appearance, stain: int) -> str:
    """Return the colour of a stain as CSS."""
    red, green, blue = (round(256 ** (1 - SWATCH_DENSITY * part / 255) - 1) for part in appearance.stains[stain])
    return f"rgb({red} {green} {blue})"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("app.adapt"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(swatch=_swatch, words=lambda code: code.replace("_", " ").capitalize())
    environment.globals.update(median=MEDIAN, high=HIGH)
    return environment
