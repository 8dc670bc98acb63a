"""Results → pages that need nothing but themselves: one a slide, and one of the cohort."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from app.answer.present import base64_pngs
from app.answer.schemas import NOTICE
from app.batch.space.density import scale_colors
from app.batch.space.islands import MIN_CELLS, RADIUS_UM
from app.batch.summary import Counted, PairSummary, SlideSummary
from app.batch.write.cohort import Failure
from app.pipeline.types import UInt8Array

SMALLEST_SCALE = 0.1
"""Where bars of proportions end at the least."""
NEAR, FAR = 0.8, 1.25
"""Distances over those by chance that are shown in colour."""
MANY_CELLS = 100
"""Of each of both clusters, for a colour: of so many, a mean distance is known to about 5%."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """What a slide's report shows.

    Attributes:
        overview: JPEG.
        density: PNG of each of K clusters.
        density_top: cells per mm² of the brightest colour of all of them.
        cells: of each of K clusters some real cells, (n, h, w, 3) uint8 each.
    """

    overview: bytes
    density: Sequence[bytes]
    density_top: float
    cells: Sequence[UInt8Array]


def slide_report(summary: SlideSummary, pictures: Pictures, files: Sequence[str]) -> bytes:
    """report.html of one slide.

    Args:
        summary: of the slide.
        pictures: of the slide.
        files: names of what else is in its folder, to link to.
    """
    sizes = {cluster.cluster: cluster.count for cluster in summary.clusters}

    def strangeness(pair: PairSummary) -> str:
        if pair.ratio is None or min(sizes[pair.cluster], sizes[pair.other]) < MANY_CELLS:
            return ""
        return "near" if pair.ratio <= NEAR else "far" if pair.ratio >= FAR else ""

    return _render(
        "slide.html",
        strangeness=strangeness,
        slide=summary,
        pairs={(pair.cluster, pair.other): pair for pair in summary.neighbours},
        many_cells=MANY_CELLS,
        near=NEAR,
        far=FAR,
        overview=base64.b64encode(pictures.overview).decode(),
        density=[base64.b64encode(png).decode() for png in pictures.density],
        density_top=pictures.density_top,
        scale_colors=scale_colors(),
        gallery=[base64_pngs(cells) for cells in pictures.cells],
        min_cells=MIN_CELLS,
        radius_um=RADIUS_UM,
        files=files,
    )


def cohort_report(
    summaries: Sequence[SlideSummary], failures: Sequence[Failure], plot: bytes, files: Sequence[str]
) -> bytes:
    """index.html of a run.

    Args:
        summaries: of the slides that are done.
        failures: of those that are not.
        plot: PNG of `cohort_plot`.
        files: names of what else is beside it, to link to.
    """
    return _render(
        "cohort.html",
        notice=NOTICE,
        slides=summaries,
        failures=failures,
        plot=base64.b64encode(plot).decode(),
        files=files,
    )


def _render(template: str, **values: object) -> bytes:
    # The name of a file need not be text.
    return _environment().get_template(template).render(values).encode(errors="backslashreplace")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("app.batch.write"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(number=_number, percent=_percent, whole=_whole, words=_words, top=_top)
    return environment


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}".replace(",", "\u202f")


def _whole(value: int) -> str:
    return _number(value, 0)


def _percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f}%"


def _top(counted: Counted) -> float:
    """Share at the right end of the bars: what holds all intervals, up to the next tenth."""
    highest = max((cluster.interval[1] for cluster in counted.clusters if cluster.interval), default=1.0)
    return min(1.0, max(SMALLEST_SCALE, math.ceil(10 * highest) / 10))


def _words(code: str) -> str:
    return code.replace("_", " ").capitalize()
