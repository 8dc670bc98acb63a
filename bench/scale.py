"""`python -m bench.scale`: what many slides a day need, worked out from measured figures; writes docs/scale.md."""

from __future__ import annotations

import json
import sys
from typing import Any

from bench.child import ROOT

SLIDES = ROOT / "docs" / "slides.json"
BENCH = ROOT / "docs" / "bench.json"
OUT = ROOT / "docs" / "scale.md"

SLIDES_A_DAY = 1_000
TISSUE_MM2 = 100.0
"""Of a slide: a trephine of 2 cm length in four levels of 15 × 1.7 mm."""
SLIDE_GB = 1.5
"""Of a slide file scanned at 40×, tissue and glass."""
IN_USE = 0.7
"""Share of its time that a core may be planned for."""
DAY_S = 86_400
GB, MB = 1e9, 1e6

TEXT = """# {slides:,} slides a day

A paper exercise: nothing of this size was run. Written by `python -m bench.scale` from `docs/slides.json` and
`docs/bench.json`, measured on {cores} cores ({processor}); [results.md](results.md) has the tables. What is
assumed beside them: a slide has {tissue:.0f} mm² of tissue at 0.25 µm per pixel and a file of {slide_gb:g} GB,
and a core is planned for {in_use:.0%} of its time. Other processors, denser tissue and slower disks change all
of it in proportion.

## What a slide costs

| | measured on the largest slide ({side:,} px) | a slide of {tissue:.0f} mm² |
|---|---|---|
| tiles | {tile_core_s:.2f} core-seconds per mm² of tissue | {tiles_s:,.0f} core-seconds |
| tissue, stain, start | {ready_s:.0f} s, once a slide, one core | {ready_s:.0f} core-seconds |
| seams, tables, maps, report, GeoJSON | {result_s:.2f} core-seconds per mm² | {results_s:,.0f} core-seconds |
| cells | {cells_mm2:,.0f} per mm² | {cells:,.0f} |
| results | {result_mb_mm2:.2f} MB per mm² | {result_mb:,.0f} MB |

## What {slides:,} a day need

- **Cores**: {core_s:,.0f} core-seconds a slide, so {cores_needed:.0f} cores, with one worker on each. Work is
  given out by tiles: one slide alone on {cores_needed:.0f} workers would be done in about {alone_s:.0f} s, of
  which {serial_s:.0f} s are one or two workers' (stain before, results after), so that many slides at once use the
  cores better than one. Two workers here were {ratio:.2f} times as fast as one; beyond two nothing was
  measured.
- **Memory**: {process_mb:.0f} MB for the largest process measured, at any size of slide: plan 1 GB a worker, so
  {memory_gb:.0f} GB.
- **Network and disk, reading**: {read_mb_s:.0f} MB/s on average ({read_tb:.1f} TB a day), a little more with
  the tiles' margins. A gigabit carries it; ten give room for the hours when scanners deliver.
- **Storage**: {result_gb:,.0f} GB of results a day, most of it GeoJSON (`--gzip` takes it to a sixth);
  the slides themselves are {read_tb:.1f} TB a day, if they are kept there.
- **Scheduler**: {tasks_s:.1f} pieces of work a second. Dask's scheduler is made for hundreds; it is no limit.
- **GPU**: the network takes {encode:.0%} of a tile's time on this processor ({encode_ms:.0f} of {total_ms:.0f}
  ms), stain and segmentation the rest. A GPU for the network alone would make a tile at most {gpu:.2f} times as
  fast, so it does not pay here; it was not measured either. It would pay for networks that are many times as
  large, or if segmentation ran on it too.

## What breaks first

The order, by these figures: cores; then the disk that all workers read from, if it gives less than
{read_mb_s:.0f} MB/s to {cores_needed:.0f} readers of small windows at once; then the {serial_s:.0f} s of each
slide that more workers do not shorten, which only delays that slide. A run of {slides:,} slides is one folder: its
manifest and table have a row a slide, and were not tried with more than a few slides.
"""


def document(slides: dict[str, Any], bench: dict[str, Any]) -> str:
    """docs/scale.md, from what `bench.slides` and `make bench` wrote."""
    size, stages = slides["sizes"][-1], bench["ours"]["stages_ms"]
    alone, large = sorted(size["runs"], key=lambda run: run["workers"])
    tissue = large["tissue_mm2"]
    tile_core_s, result_s = large["tiles_s"] * large["workers"] / tissue, alone["results_s"] / tissue
    ready_s = large["ready_s"]
    core_s = tile_core_s * TISSUE_MM2 + ready_s + result_s * TISSUE_MM2
    cores_needed = SLIDES_A_DAY * core_s / DAY_S / IN_USE
    serial_s = ready_s + large["results_s"] / tissue * TISSUE_MM2
    tiles_a_slide = large["tiles"] / tissue * TISSUE_MM2
    return TEXT.format(
        slides=SLIDES_A_DAY,
        cores=slides["machine"]["cores"],
        processor=slides["machine"]["processor"],
        tissue=TISSUE_MM2,
        slide_gb=SLIDE_GB,
        in_use=IN_USE,
        side=size["side_px"],
        tile_core_s=tile_core_s,
        tiles_s=tile_core_s * TISSUE_MM2,
        ready_s=ready_s,
        result_s=result_s,
        results_s=result_s * TISSUE_MM2,
        cells_mm2=large["cells"] / tissue,
        cells=large["cells"] / tissue * TISSUE_MM2,
        result_mb_mm2=large["result_mb"] / tissue,
        result_mb=large["result_mb"] / tissue * TISSUE_MM2,
        core_s=core_s,
        cores_needed=max(1, cores_needed),
        alone_s=serial_s + tile_core_s * TISSUE_MM2 / max(1, cores_needed),
        serial_s=serial_s,
        ratio=size["ratios"]["seconds"],
        process_mb=large["peak_process_mb"],
        memory_gb=max(1, cores_needed),
        read_mb_s=SLIDES_A_DAY * SLIDE_GB * GB / DAY_S / MB,
        read_tb=SLIDES_A_DAY * SLIDE_GB / 1000,
        result_gb=SLIDES_A_DAY * large["result_mb"] / tissue * TISSUE_MM2 / 1000,
        tasks_s=SLIDES_A_DAY * tiles_a_slide / DAY_S,
        encode=stages["encode"] / stages["total"],
        encode_ms=stages["encode"],
        total_ms=stages["total"],
        gpu=stages["total"] / (stages["total"] - stages["encode"]),
    )


def main() -> int:
    """Write the document."""
    slides, bench = (json.loads(path.read_text(encoding="utf-8")) for path in (SLIDES, BENCH))
    OUT.write_text(document(slides, bench), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
