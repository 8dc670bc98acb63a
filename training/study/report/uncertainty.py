"""Sections on how far an answer can be relied on: quality flags, intervals, outliers and withheld labels."""

from __future__ import annotations

from typing import Any

from training.study.report.tables import table

QUALITY = """## Quality flags

Data: the tiles of `bm_graz`, random crops of them (400 to 1000 px; two of each tile are degraded as well), and pictures
that are no H&E tiles; preset `default`.
Command: `python -m training evaluate quality ../shared/data/bm_graz docs/results`

The limits are fitted on the tuning tiles, and then judge the test tiles (test) and the tuning tiles themselves (tune).
For the shipped bundle they are fitted on all eleven tiles and judge the same tiles (all). No limit of `test` is fitted
on a test tile, but the margins of all limits were chosen with every tile and most of these conditions in view. All
flags except `mpp_unknown` are counted. The crops of a tile are much alike, and all tiles come from one laboratory: for
tiles of another laboratory, these rates are no evidence.

### Alarms on crops that are not degraded

"""
QUALITY_CONDITIONS = """
### {title}

Right: the share of views with a wanted flag or, if no flag is wanted, without any. The columns of flags count all
tiles, crops and pictures.

"""
QUALITY_TITLES = {
    "test": "Degraded test tiles, limits of the tuning tiles",
    "tune": "Degraded tuning tiles, limits of the same",
    "all": "All tiles degraded, limits of the same",
}
INTERVALS = """## Intervals of proportions

Data: the cells of `bm_graz`, as bundle `{bundle}` sees them. Measured {date}.
Command: `python -m training evaluate intervals ../shared/data/bm_graz docs/results`

Tiles are simulated: their cells are drawn from the real ones with replacement, so the true proportions are known.
{draws} tiles of each size are simulated. Coverage is the share of tiles whose intervals hold all true proportions at
the same time; {confidence:.0%} is promised if Q's probabilities are right. The true cluster of a cell is not known. For
`Q is right` it is drawn by Q's calibrated probabilities. For `too sure` and `too unsure` it is drawn in the same way,
but Q reports the probabilities of logits that are twice or half as large, and its calibration is unknown: then nothing
is promised. Known and applied, the calibration leads back to `Q is right`. `Counts alone` takes the most probable
cluster of each cell as certain: such intervals narrow around the counts, and not around the proportions. Width is the
mean of the widest interval.

"""
OUTLIERS = """## Outlier cells

Bundle `{bundle}`, measured {date}. Command: `python -m training evaluate outliers ../shared/data docs/results`

A cell is an outlier if its surprise is above {threshold:.1f}, which is above that of {share:.0%} of the training cells,
each scored without its own tile. A tile with more than {max_share:.1%} of outliers, beyond two standard errors, gets no
label (many_outliers), and neither does one whose cells are, on average, more surprising than those of 98% of the
tiles of this marrow, each scored by a fit without it (unlike_training_tiles). Both limits of tiles also hold for these
tiles as JPEG of quality 75, because other tissue is not the only thing that looks unusual. The bundle was trained on
this marrow, so the share of outliers in it is lower than in marrow that it has not seen; nothing is known about marrow
from another laboratory. Every set is segmented by the bundle, as if it were marrow at the bundle's scale.

"""
NOT_CELLS = """
Crops that show no whole nucleus, in the outlines of real nuclei; all but the first and the last are drawn:

"""
ABSTENTION = """## Abstention

Data: the cells of `bm_graz`, as bundle `{bundle}` sees them. **Simulated**: an abnormal bag holds the cells of a
healthy tile, resampled so that large, pale nuclei dominate; each tile gives five bags of each label. Measured {date}.
Command: `python -m training evaluate abstention ../shared/data/bm_graz docs/results`

The tiles are shifted and analysed, and their bags are labelled. Abstained is the share of bags without a label. Error
is the share of wrong labels among those given; error if forced is the share of wrong ones if the sign of the score were
the label of every bag. The bundle was trained on these tiles without a shift.

"""


NOVELTY = """## Is it marrow?

Bundle `{bundle}`, measured {date}. Command: `python -m training evaluate novelty ../shared/data CELLS docs/results`

Every tile of other organs is analysed with its scale. A label on one of them would be wrong. *By their cells* counts
the tiles that many_outliers or unlike_training_tiles would refuse even if their stain and scale were those of marrow.

"""
NOVELTY_OF_MARROW = """
Tiles of the training marrow, held against limits, a score and reference ranges that were fitted without them, though
the networks have seen them: refused are those with many_outliers or unlike_training_tiles. How far the measurements of
a tile may lie from the reference ranges was chosen on these tiles as JPEG, and on tiles of `fl_reactive`.

"""
ADAPTATION = """## Adapting to another laboratory

Bundle `{bundle}`, measured {date}. Command: `python -m training evaluate adaptation ../shared/data docs/results`

**The laboratories are simulated**: {tiles} tiles of `bm_graz`, the darkest, are recoloured with the stains that were
estimated on other data sets, in other strengths, with another tone curve, sharpness and JPEG. The bundle is adapted to
them as `marrowscope bundle adapt` does. How its training tiles look is measured on the other {reference_tiles} tiles
alone, but its networks have seen all of them. What is found is compared with what the bundle finds in the same tiles as
they were: the number of counted cells over that number, and the largest difference of a proportion, in all tiles
together and in any single tile. Recoloured in the same way, {foreign} tiles of other organs are refused by the adapted
bundle, but for those in the last column.

"""


def novelty(result: dict[str, Any]) -> str:
    """Return the section on what `evaluate_novelty` measured."""
    rows = {
        (f"`{name}`", f"{found['mpp']:g}"): {
            **found,
            "flags": ", ".join(f"{code} {number}" for code, number in found["flags"].items()) or "none",
        }
        for name, found in result["other"].items()
    }
    text = NOVELTY.format(**result)
    text += table(("set", "µm per px"), rows, {"tiles": "d", "labelled": "d", "by_cells": "d", "flags": ""})
    titles = {"whole": "tiles", "jpeg": "the same as JPEG of quality 75", "crops": "random crops of 600 px"}
    marrow = {(titles[name],): found for name, found in result["marrow"].items()}
    return text + NOVELTY_OF_MARROW + table(("marrow",), marrow, {"n": "d", "refused": "d"}) + "\n"


def adaptation(result: dict[str, Any]) -> str:
    """Return the section on what `evaluate_adaptation` measured."""
    rows = {
        (name, state): {
            **found[state],
            "flags": ", ".join(f"{code} {number}" for code, number in found[state]["flags"].items()) or "none",
            **({"foreign": found["foreign"]["labelled"]} if state == "after" else {}),
        }
        for name, found in result["laboratories"].items()
        for state in ("before", "after")
    }
    foreign = max(found["foreign"]["tiles"] for found in result["laboratories"].values())
    columns = {"labelled": "d", "cells": ".2f", "pooled": ".3f", "worst_tile": ".3f", "foreign": "d", "flags": ""}
    return ADAPTATION.format(foreign=foreign, **result) + table(("laboratory", "adapted"), rows, columns) + "\n"


def quality(result: dict[str, Any]) -> str:
    """Return the section on what `evaluate_quality` measured."""
    alarms = {(split,): {**found, **found["flags"]} for split, found in result["false_alarms"].items()}
    codes = dict.fromkeys(next(iter(alarms.values()))["flags"], ".3f")
    text = QUALITY + table(("split",), alarms, {"crops": "d", "any": ".3f", **codes})
    columns = {**dict.fromkeys(("tile", "crop", "picture"), ".2f"), **dict.fromkeys(codes, ".2f")}
    for split, conditions in result["conditions"].items():
        rows = {
            (name, " or ".join(found["wanted"]) or "none"): _over_kinds(found) for name, found in conditions.items()
        }
        text += QUALITY_CONDITIONS.format(title=QUALITY_TITLES[split])
        text += table(("condition", "wanted"), rows, columns)
    return text + "\n"


def intervals(result: dict[str, Any]) -> str:
    """Return the section on what `evaluate_intervals` measured."""
    rows = {(row["population"], f"{row['cells']}"): row for row in result["rows"]}
    first = result["rows"][0]
    text = INTERVALS.format(draws=first["draws"], confidence=first["confidence"], **result)
    kinds = ("coverage", "coverage_too_sure", "coverage_too_unsure", "coverage_of_counts")
    columns = {**dict.fromkeys(kinds, ".3f"), "width": ".3f"}
    return text + table(("cells are drawn from", "cells"), rows, columns) + "\n"


def outliers(result: dict[str, Any]) -> str:
    """Return the section on what `evaluate_outliers` measured."""
    text = OUTLIERS.format(share=1 - result["training_share"], **result)
    cells = {(name,): found for name, found in result["cells"].items()}
    text += table(
        ("cells of",),
        cells,
        {"cells": "d", "outliers": ".3f", "tiles": "d", "flagged": ".2f", "unlike": ".2f", "labelled": ".2f"},
    )
    crops = {(name,): found for name, found in result["crops"].items()}
    return text + NOT_CELLS + table(("crops of",), crops, {"crops": "d", "outliers": ".3f"}) + "\n"


def abstention(result: dict[str, Any]) -> str:
    """Return the section on what `evaluate_abstention` measured."""
    rows = {
        (row["shift"], row["strength"]): {
            **{name: value for name, value in row.items() if value is not None},
            "reasons": ", ".join(f"{reason} {share:.0%}" for reason, share in row["reasons"].items()) or "–",
        }
        for row in result["rows"]
    }
    columns = {"bags": "d", "abstained": ".3f", "error": ".3f", "error_if_forced": ".3f", "reasons": ""}
    return ABSTENTION.format(**result) + table(("shift", "strength"), rows, columns) + "\n"


def _over_kinds(found: dict[str, Any]) -> dict[str, float]:
    """Return the share of right views by kind of view, and the rate of each flag over all kinds."""
    kinds = {kind: found[kind] for kind in ("tile", "crop", "picture") if kind in found}
    views = sum(of_kind["views"] for of_kind in kinds.values())
    codes = next(iter(kinds.values()))["flags"]
    return {
        **{kind: of_kind["right"] for kind, of_kind in kinds.items()},
        **{code: sum(k["flags"][code] * k["views"] for k in kinds.values()) / views for code in codes},
    }
