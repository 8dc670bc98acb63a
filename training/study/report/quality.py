"""Section on the quality flags."""

from __future__ import annotations

from typing import Any

from training.study.report.tables import table

QUALITY = """## Quality flags

Data: the tiles of `bm_graz`, random crops of them (400 to 1000 px, two of each tile where they are degraded), and
pictures that are no H&E tiles; preset `default`.
Command: `python -m training evaluate quality ../shared/data/bm_graz docs/results`

Limits are fitted on the tuning tiles and held against the test tiles (test) and the tuning tiles themselves (tune); and
fitted on all eleven, as for the shipped bundle, and held against the same (all). No limit of `test` is fitted on a test
tile, but the margins round all limits were chosen with every tile and most of these conditions in view. All but
`mpp_unknown` are counted. Crops of a tile are much alike, and all tiles are of one laboratory: of tiles from another
one, these rates say nothing.

### Alarms on crops that are as they were

"""
QUALITY_CONDITIONS = """
### {title}

Right: the share with a wanted flag, or, where none is wanted, without any. The columns by flag count every tile, crop
and picture.

"""
QUALITY_TITLES = {
    "test": "Degraded test tiles, limits of the tuning tiles",
    "tune": "Degraded tuning tiles, limits of the same",
    "all": "All tiles degraded, limits of the same",
}


def quality(result: dict[str, Any]) -> str:
    """Of what `evaluate_quality` measured."""
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


def _over_kinds(found: dict[str, Any]) -> dict[str, float]:
    """Share of right ones by kind of view, and the rate of each flag over all kinds."""
    kinds = {kind: found[kind] for kind in ("tile", "crop", "picture") if kind in found}
    views = sum(of_kind["views"] for of_kind in kinds.values())
    codes = next(iter(kinds.values()))["flags"]
    return {
        **{kind: of_kind["right"] for kind, of_kind in kinds.items()},
        **{code: sum(k["flags"][code] * k["views"] for k in kinds.values()) / views for code in codes},
    }
