"""Section on whole slides."""

from __future__ import annotations

from typing import Any

from training.study.report.tables import table

Result = dict[str, Any]

HEAD = """## Whole slides

Command: `{command}`, which wrote `docs/slides.json`. Measured {date} at commit {commit} on {cores} cores ({processor},
{architecture}, {system}).

### Cells at seams

The {n} tiles of `bm_graz` side by side are one picture of {width} × {height} px. Analysed at once, it has **{whole}**
cells. As a slide it is analysed in {tiles} tiles whose stain is measured once; their cells, put together, are
**{slide}** ({difference:+.2%}). With one worker and with two, the counts are the same.

"""
SIZES = """
### Time and memory by size, with one worker and with two

Slides made of the same tiles (`python -m bench.made_slide`), {tissue:.0%} of their area tissue and the rest glass, each
analysed by `marrowscope batch`. Memory is the largest sum of all processes, what they share counted for each. *Ready*
is until workers run and the slide's tissue and stain are known; *results* are seams, tables, maps and report, and the
GeoJSON, which a second worker writes meanwhile.

"""
GROWTH = """
From {small} to {large} px a side, tissue grows {area:.1f}-fold and the time that two workers take for its tiles
{time:.1f}-fold: {rates} s per mm². The largest process has {first_mb:.0f} and {last_mb:.0f} MB.

Two workers are {ratios} times as fast as one, from the start of the command to its end; on the tiles alone
{tiles_ratios} times.

"""


COLUMNS = {
    "tissue, mm²": ".1f",
    "tiles": "d",
    "cells": "d",
    "ready, s": ".1f",
    "tiles, s": ".1f",
    "results, s": ".1f",
    "total, s": ".1f",
    "memory, MB": ".0f",
    "largest process, MB": ".0f",
    "results, MB": ".0f",
}


def slides(result: Result) -> str:
    """Of what `python -m bench.slides` measured."""
    assembled, sizes = result["assembled"], result["sizes"]
    text = HEAD.format(
        command=result["command"],
        date=result["date"],
        commit=result["commit"] or "unknown",
        **result["machine"],
        n=11,
        width=assembled["width"],
        height=assembled["height"],
        whole=assembled["whole_cells"],
        slide=assembled["slide_cells"],
        tiles=assembled["runs"][0]["tiles"],
        difference=assembled["slide_cells"] / assembled["whole_cells"] - 1,
    )
    text += _counts(assembled)
    rows = {
        (f"{size['side_px']} × {size['side_px']} px", str(run["workers"])): _row(run)
        for size in sizes
        for run in sorted(size["runs"], key=lambda run: run["workers"])
    }
    text += SIZES.format(tissue=result["tissue_share"]) + table(("slide", "workers"), rows, COLUMNS)
    two = [next(run for run in size["runs"] if run["workers"] == 2) for size in sizes]
    first, last = two[0], two[-1]
    return text + GROWTH.format(
        small=sizes[0]["side_px"],
        large=sizes[-1]["side_px"],
        area=last["tissue_mm2"] / first["tissue_mm2"],
        time=last["tiles_s"] / first["tiles_s"],
        rates=", ".join(f"{run['tiles_s'] / run['tissue_mm2']:.2f}" for run in two),
        first_mb=first["peak_process_mb"],
        last_mb=last["peak_process_mb"],
        ratios=", ".join(f"{size['ratios']['seconds']:.2f}" for size in sizes),
        tiles_ratios=", ".join(f"{size['ratios']['tiles_s']:.2f}" for size in sizes),
    )


def _counts(assembled: Result) -> str:
    """Cells of each cluster, both ways."""
    names = [str(k) for k in range(len(assembled["whole_counts"]))]
    counts: dict[Any, Result] = {
        ("the whole at once",): dict(zip(names, assembled["whole_counts"], strict=True)),
        ("in tiles",): dict(zip(names, assembled["slide_counts"], strict=True)),
    }
    return table(("cells of cluster",), counts, dict.fromkeys(names, "d"))


def _row(run: Result) -> Result:
    return {
        "tissue, mm²": run["tissue_mm2"],
        "tiles": run["tiles"],
        "cells": run["cells"],
        "ready, s": run["ready_s"],
        "tiles, s": run["tiles_s"],
        "results, s": run["results_s"],
        "total, s": run["seconds"],
        "memory, MB": run["peak_mb"],
        "largest process, MB": run["peak_process_mb"],
        "results, MB": run["result_mb"],
    }
