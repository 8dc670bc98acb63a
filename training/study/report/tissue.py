"""The section on the shares of tissue, beside another program's maps."""

from __future__ import annotations

from statistics import fmean
from typing import Any

from training.study.report.tables import table

TISSUE = """## Tissue

Data: five cores of trephines with myelodysplastic syndrome (`mds_cores`), taken to have {mpp:g} µm per pixel, which is
not stated. Bundle `{bundle}`, measured {date}. Command: `python -m training evaluate tissue ../shared/data/mds_cores
docs/results`

The maps are pixel classes of a trained Weka model (Brück et al. 2021), and not a person's: in pale marrow they show
red cells and stroma between all nuclei, where a region is asked for here. They do not tell fat from glass, so nothing
here measures cellularity. Shares are of the whole picture. Agreement is the share of pixels on which both agree; the
shares of cells differ by {difference:.3f} on average.

"""
COLUMNS = {
    **{column: ".3f" for kind in ("cells", "stroma", "red", "rest") for column in (kind, f"{kind}_map")},
    **dict.fromkeys(("agreement", "dice_cells", "fat", "cellularity"), ".3f"),
}


def tissue(result: dict[str, Any]) -> str:
    """Return the section on what `evaluate_tissue` measured."""
    cores = result["cores"]
    difference = fmean(abs(core["cells"] - core["cells_map"]) for core in cores.values())
    rows = {(name,): core for name, core in cores.items()}
    return TISSUE.format(difference=difference, **result) + table(("core",), rows, COLUMNS) + "\n"
