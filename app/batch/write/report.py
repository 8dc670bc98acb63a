"""The reports: a page for each slide and a page for the cohort, each one file that needs no other file."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from app.answer.palette import hex_color
from app.answer.present import base64_pngs
from app.answer.schemas import NOTICE, ClusterOut, TypeOut
from app.batch.space.density import scale_colors
from app.batch.space.islands import MIN_CELLS, RADIUS_UM
from app.batch.space.novelty import MIN_CELLS as JUDGED_CELLS
from app.batch.summary import FailedSlide, PairSummary, SlideSummary
from app.batch.write.pictures import BRIGHTEST_NOVELTY, Pictures
from app.pipeline.measure.table import INDEX, SYMBOLS
from app.pipeline.tissue.classes import CLASS_COLORS

SHOWN = ("area", "haematoxylin_od_mean", "chromatin_contrast", "eccentricity", "neighbour_distance")
"""The measurements that reports and tables show: size, staining, chromatin, shape and crowding. The summary has all."""
SMALLEST_SCALE = 0.1
"""The smallest proportion at which the scale of the bars may end."""
NEAR, FAR = 0.8, 1.25
"""Ratios of a distance to that by chance from which on a pair of clusters is coloured."""
MANY_CELLS = 100
"""The smallest number of cells in both clusters of a coloured pair: a mean distance is then known to about 5%."""


def slide_report(summary: SlideSummary, pictures: Pictures, files: Sequence[str]) -> bytes:
    """Write the report of one slide, report.html.

    Args:
        summary: the summary of the slide.
        pictures: the pictures of the slide.
        files: the names of the other files in its folder, to which the page links.
    """
    counts = {cluster.cluster: cluster.count for cluster in summary.clusters}

    def nearness(pair: PairSummary) -> str:
        """Return the style class of a pair of clusters: near, far, or neither."""
        if pair.ratio is None or min(counts[pair.cluster], counts[pair.other]) < MANY_CELLS:
            return ""
        return "near" if pair.ratio <= NEAR else "far" if pair.ratio >= FAR else ""

    return _render(
        "slide.html",
        nearness=nearness,
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
        shown_measurements=[summary.measurements[INDEX[name]] for name in SHOWN],
        large=[base64.b64encode(jpg).decode() for jpg in pictures.large],
        large_um=pictures.large_um,
        tissue_png=base64.b64encode(pictures.tissue).decode() if pictures.tissue else "",
        tissue_colors={name: hex_color(color) for name, color in CLASS_COLORS.items()},
        mean=pictures.mean,
        mean_png=base64.b64encode(pictures.mean.png).decode() if pictures.mean else "",
        novelty_png=base64.b64encode(pictures.novelty).decode() if pictures.novelty else "",
        brightest_novelty=BRIGHTEST_NOVELTY,
        judged_cells=JUDGED_CELLS,
        min_cells=MIN_CELLS,
        radius_um=RADIUS_UM,
        files=files,
    )


def cohort_report(
    summaries: Sequence[SlideSummary], failures: Sequence[FailedSlide], plot: bytes, files: Sequence[str]
) -> bytes:
    """Write the report of all slides of a batch, index.html.

    Args:
        summaries: the slides that have results.
        failures: the slides that have none.
        plot: a PNG, the result of `cohort_plot`.
        files: the names of the other files beside it, to which the page links.
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
    # The name of a file may hold bytes that are not text.
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
    environment.filters.update(
        number=_number, percent=_percent, whole=_whole, words=_words, unit=_unit, scale_end=_scale_end
    )
    return environment


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}".replace(",", "\u202f")


def _whole(value: int) -> str:
    return _number(value, 0)


def _percent(share: float | None, digits: int = 1) -> str:
    return "–" if share is None else f"{100 * share:.{digits}f}%"


def _scale_end(shares: Sequence[ClusterOut] | Sequence[TypeOut]) -> float:
    """Return the proportion at the right end of the bars: the next tenth above all intervals."""
    highest = max((share.interval[1] for share in shares if share.interval), default=1.0)
    return min(1.0, max(SMALLEST_SCALE, math.ceil(10 * highest) / 10))


def _unit(unit: str) -> str:
    return SYMBOLS.get(unit, unit)


def _words(code: str) -> str:
    return code.replace("_", " ").capitalize()
