"""An answer whose measurements, ranges and tissue are numbers that a test knows."""

import copy

UM2 = "um2"
TITLES = {
    "area_um2": ("Nuclear area", "shape", UM2),
    "eosin_od_mean": ("Eosin, mean", "density", "od"),
    "dark_clumps": ("Dark clumps", "chromatin", "count"),
}
COLUMNS = tuple(TITLES)
REFERENCES = {"area_um2": (60.0, 80.0, "within"), "dark_clumps": (2.0, 3.0, "low")}
UNMEASURED = 3
"""The cell whose area was not measured."""


def reference(low, high, flag):
    margin = (high - low) / 4
    return {
        "low": low,
        "high": high,
        "low_interval": [low - margin, low + margin],
        "high_interval": [high - margin, high + margin],
        "n_tiles": 11,
        "n_patients": 8,
        "indicative": True,
        "flag": flag,
    }


def with_measurements(answer):
    """Return the answer with measurements: cell i has an area of 10 + i µm², i % 4 dark clumps, and an eosin of 0.2.

    Only cell 5 has another eosin, 0.9; and cell 3 has no area, because the border cuts it.
    """
    found = copy.deepcopy(answer)
    for i, cell in enumerate(found["cells"]):
        cell["outlier"] = False
        cell["measurements"] = {
            "area_um2": None if i == UNMEASURED else 10.0 + i,
            "eosin_od_mean": 0.9 if i == 5 else 0.2 + i / 10_000,
            "dark_clumps": i % 4,
        }
    found["cells"][UNMEASURED]["not_measured"] = {"area_um2": "touches_border"}
    found["measurements"] = [measurement(column, found["cells"]) for column in COLUMNS]
    for cluster in found["clusters"]:
        cluster |= {"description": None, "reference": None}
    found["clusters"][0] |= {"proportion": 0.4, "interval": [0.3, 0.5], "reference": reference(0.1, 0.25, "high")}
    found["clusters"][0]["description"] = {
        "sentence": "Large, pale, open chromatin",
        "n_cells": 1432,
        "measurements": [
            {
                "measurement": "area_um2",
                "title": "Nuclear area",
                "unit": UM2,
                "median": 33.3,
                "n": 1400,
                "quartiles": [30.0, 38.8],
                "effect": 0.9,
            }
        ],
    }
    found["label"]["measurement_contributions"] = [
        {"measurement": "area_um2", "title": "Nuclear area", "value": 60.0, "contribution": 0.77}
    ]
    found["label"]["within_reference"] = {"value": False, "distance": 4.25, "threshold": 3.5, "n_tiles": 11}
    found["tissue"] = {
        "area_mm2": 0.09,
        "cellularity": 0.432,
        "haematopoietic": 0.31,
        "fat": 0.408,
        "bone_and_stroma": 0.12,
        "red_cells": 0.06,
        "background": 0.102,
        "reference": reference(0.45, 0.8, "low"),
        "reason": None,
    }
    found["very_large_nuclei"] = {
        "count": 2,
        "per_mm2": 22.2,
        "min_diameter_um": 13.0,
        "nuclei": [
            {"cells": [7], "equivalent_diameter_um": 15.0},
            {"cells": [9, 11], "equivalent_diameter_um": 21.5},
        ],
        "notice": "Candidates: nothing about them is validated.",
    }
    return found


def measurement(column, cells):
    title, group, unit = TITLES[column]
    values = sorted(cell["measurements"][column] for cell in cells if cell["measurements"][column] is not None)
    return {
        "measurement": column,
        "title": title,
        "group": group,
        "unit": unit,
        "n": len(values),
        "median": values[len(values) // 2],
        "quartiles": [values[len(values) // 4], values[3 * len(values) // 4]],
        "reference": reference(*REFERENCES[column]) if column in REFERENCES else None,
    }


def without_measurements(answer):
    """Return the answer as services gave it before there were measurements."""
    found = copy.deepcopy(answer)
    for cell in found["cells"]:
        cell.pop("measurements", None)
        cell.pop("not_measured", None)
    for cluster in found["clusters"]:
        cluster.pop("description", None)
        cluster.pop("reference", None)
    for part in ("measurements", "tissue", "very_large_nuclei"):
        found.pop(part, None)
    for part in ("within_reference", "measurement_contributions"):
        found["label"].pop(part, None)
    return found


def with_nothing_known(answer):
    """Return the answer with null wherever a measurement, a range or a share of tissue can be null."""
    found = with_measurements(answer)
    for cell in found["cells"]:
        cell["measurements"] = dict.fromkeys(COLUMNS)
        cell["not_measured"] = dict.fromkeys(COLUMNS, "no_stain")
    for one in found["measurements"]:
        one |= {"n": 0, "median": None, "quartiles": None, "reference": None}
    for cluster in found["clusters"]:
        cluster |= {"description": None, "reference": None}
    found["label"]["within_reference"] = None
    found["tissue"] = dict.fromkeys(found["tissue"]) | {
        "fat": 0.0,
        "background": 1.0,
        "reason": "No two stains could be told apart.",
    }
    found["very_large_nuclei"] |= {"count": 0, "per_mm2": None, "nuclei": []}
    return found
