"""`python -m bench.scale`: works out from measured figures what many slides a day need, and writes docs/scale.md."""

from __future__ import annotations

import json
import sys
from typing import Any

from bench import ROOT

SLIDES = ROOT / "docs" / "slides.json"
BENCH = ROOT / "docs" / "bench.json"
OUT = ROOT / "docs" / "scale.md"

SLIDES_A_DAY = 1_000
TISSUE_MM2 = 100.0
"""Area of tissue on a slide: a trephine biopsy of 2 cm in four levels of 15 × 1.7 mm."""
SLIDE_GB = 1.5
"""Size of the file of a slide scanned at 40×, tissue and glass."""
IN_USE = 0.7
"""Share of its time that a core is planned for."""
DAY_S = 86_400
GB, MB = 1e9, 1e6

TEXT = """# {slides:,} slides a day

This is an estimate: nothing of this size was run. `python -m bench.scale` wrote it from `docs/slides.json` and
`docs/bench.json`, which were measured on {cores} cores ({processor}); [results.md](results.md) has the tables. It
assumes that a slide has {tissue:.0f} mm² of tissue at 0.25 µm per pixel and a file of {slide_gb:g} GB, and that a core
is planned for {in_use:.0%} of its time. Other processors, denser tissue and slower disks change all figures in
proportion.

## What a slide costs

| | measured on the largest slide ({side:,} px) | a slide of {tissue:.0f} mm² |
|---|---|---|
| tiles | {tile_core_s:.2f} core-seconds per mm² of tissue | {tiles_s:,.0f} core-seconds |
| tissue, stain, start | {ready_s:.0f} s, once a slide, one core | {ready_s:.0f} core-seconds |
| seams, tables, maps, report, GeoJSON | {result_s:.2f} core-seconds per mm² | {results_s:,.0f} core-seconds |
| cells | {cells_mm2:,.0f} per mm² | {cells:,.0f} |
| results | {result_mb_mm2:.2f} MB per mm² | {result_mb:,.0f} MB |

## What {slides:,} slides a day need

- **Cores**: a slide takes {core_s:,.0f} core-seconds, so {cores_needed:.0f} cores are needed, with one worker on each.
  Workers are given tiles: {cores_needed:.0f} workers would finish one slide alone in about {alone_s:.0f} s. For
  {serial_s:.0f} s of these only one or two of them are busy (with the stain at the beginning and the results at the
  end), so many slides at a time use the cores better than one. Two workers were {ratio:.2f} times as fast as one; more
  than two were not measured.
- **Memory**: the largest process that was measured took {process_mb:.0f} MB, whatever the size of the slide. Plan 1 GB
  per worker, which is {memory_gb:.0f} GB.
- **Network and disk, reading**: {read_mb_s:.0f} MB/s on average ({read_tb:.1f} TB a day), and a little more for the
  tiles' margins. A network of 1 Gbit/s carries this; 10 Gbit/s leave room for the hours when scanners deliver.
- **Storage**: {result_gb:,.0f} GB of results a day, most of it GeoJSON (`--gzip` reduces it to a sixth). The slides
  themselves take {read_tb:.1f} TB a day, if they are kept there.
- **Scheduler**: {tasks_s:.1f} tasks a second. Dask's scheduler handles hundreds, so it is no limit.
- **GPU**: the network takes {encode:.0%} of a tile's time on this processor ({encode_ms:.0f} of {total_ms:.0f} ms);
  stain and segmentation take the rest. A GPU for the network alone would make a tile at most {gpu:.2f} times as fast,
  which does not pay; it was not measured. It would pay for networks many times as large, or if segmentation ran on it
  too.

## What becomes the limit first

By these figures, the cores do. Next comes the disk that all workers read from, if it gives less than {read_mb_s:.0f}
MB/s to {cores_needed:.0f} readers of small windows at a time. Last come the {serial_s:.0f} s of each slide that more
workers do not shorten, which delay that slide only. The results of {slides:,} slides are one folder, whose manifest and
table have a row for each slide; these were not tried with more than a few slides.
"""


def document(slides: dict[str, Any], bench: dict[str, Any]) -> str:
    """Write the text of docs/scale.md.

    Args:
        slides: what `python -m bench.slides` measured.
        bench: what `make bench` measured.
    """
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
