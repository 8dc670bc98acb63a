"""Section on whole slides."""

from __future__ import annotations

from typing import Any

from training.report.tables import table

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
### Time and memory by size

Slides made of the same tiles (`python -m bench.made_slide`), {tissue:.0%} of their area tissue and the rest glass, each
analysed by `marrowscope batch` with two workers. Memory is the largest sum of all processes, what they share counted
for each. *Ready* is until workers run and the slide's tissue and stain are known; *results* are seams, tables, maps and
report, by one worker.

"""
GROWTH = """
From {small} to {large} px a side, tissue grows {area:.1f}-fold and the time for tiles {time:.1f}-fold: {first:.2f} and
{last:.2f} s per mm². Memory of the largest process: {first_mb:.0f} and {last_mb:.0f} MB.

### Two workers against one

On the slide of {side} px, runs in the order 1, 2, 2, 1: two workers take {ratio:.2f} times less time, from the start of
the command to its end; on the tiles alone {tiles_ratio:.2f} times.

"""


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
    names = [str(k) for k in range(len(assembled["whole_counts"]))]
    counts: dict[Any, Result] = {
        ("the whole at once",): dict(zip(names, assembled["whole_counts"], strict=True)),
        ("in tiles",): dict(zip(names, assembled["slide_counts"], strict=True)),
    }
    text += table(("cells of cluster",), counts, dict.fromkeys(names, "d"))
    rows = {(f"{row['side_px']} × {row['side_px']} px",): _row(row) for row in sizes}
    columns = {
        "slide, MB": ".0f",
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
    text += SIZES.format(tissue=result["tissue_share"]) + table(("slide",), rows, columns)
    first, last, speedup = sizes[0], sizes[-1], result["speedup"]
    text += GROWTH.format(
        small=first["side_px"],
        large=last["side_px"],
        area=last["tissue_mm2"] / first["tissue_mm2"],
        time=last["tiles_s"] / first["tiles_s"],
        first=first["tiles_s"] / first["tissue_mm2"],
        last=last["tiles_s"] / last["tissue_mm2"],
        first_mb=first["peak_process_mb"],
        last_mb=last["peak_process_mb"],
        side=speedup["side_px"],
        ratio=speedup["ratio"],
        tiles_ratio=speedup["tiles_ratio"],
    )
    runs: dict[Any, Result] = {(str(i + 1),): _row(run) for i, run in enumerate(speedup["runs"])}
    for run, measured in zip(runs.values(), speedup["runs"], strict=True):
        run["workers"] = measured["workers"]
    times = {name: columns[name] for name in ("ready, s", "tiles, s", "results, s", "total, s", "memory, MB")}
    return text + table(("run",), runs, {"workers": "d", **times}) + "\n"


def _row(run: Result) -> Result:
    return {
        "slide, MB": run.get("slide_mb"),
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
