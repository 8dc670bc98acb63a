"""The daily summaries, and the metrics of the last day."""

import json
import threading
from datetime import UTC, date, datetime

import pytest

import app.observe.days as days_module
from app.observe.days import ENOUGH_TILES, BundleDay, Day, Days, quantities
from app.observe.metrics import Metrics
from app.pipeline.bundle.load import load_bundle
from app.pipeline.run import analyse
from tests.api.answers import post_tile
from tests.observe.reading import labels_of, parsed, value

DAY = date(2026, 3, 2)


@pytest.fixture(autouse=True)
def day(monkeypatch):
    monkeypatch.setattr(days_module, "today", lambda: DAY)


@pytest.fixture(scope="module")
def bundle(shipped_bundle):
    return load_bundle(shipped_bundle, 1)


@pytest.fixture(scope="module")
def analysis(bundle, sample):
    return analyse(sample, bundle, max_pixels=10**7, mpp=0.25)


def stored(folder, bundle, day, tiles):
    """Write a day on which each tile had a stain distance that is the day of the month."""
    of_bundle = BundleDay(name="marrow", version="1")
    for _ in range(tiles):
        of_bundle.add({"stain_distance": day.day}, ["blurred"], "normal")
    folder.mkdir(exist_ok=True)
    (folder / f"{day}.json").write_text(Day(bundles={bundle.sha256: of_bundle}).model_dump_json())


def shown(folder, bundle):
    metrics = Metrics(folder)
    metrics.loaded(bundle)
    return parsed(metrics.text().decode())


def test_a_tile_shows_in_the_file_and_the_metrics_also_after_a_restart(serve, sample, tmp_path):
    folder = tmp_path / "drift"
    answer = post_tile(serve(drift_dir=folder), sample).json()
    samples = parsed(serve(drift_dir=folder).get("/metrics").text)
    of_day = {
        "tiles": 1,
        "stain_distance": answer["quality"]["stain_distance"],
        "focus": answer["quality"]["focus"],
        "tissue_ratio": answer["quality"]["tissue_fraction"],
        "cells": len(answer["cells"]),
        "outliers_ratio": answer["outliers"]["share"],
        "timestamp_seconds": datetime(2026, 3, 2, tzinfo=UTC).timestamp(),
    }
    for name, expected in of_day.items():
        assert value(samples, f"marrowscope_day_{name}", bundle="marrow") == pytest.approx(expected, abs=1e-3)
    for cluster in answer["clusters"]:
        found = value(samples, "marrowscope_day_proportion_ratio", bundle="marrow", cluster=str(cluster["cluster"]))
        assert found == pytest.approx(cluster["proportion"], abs=1e-3)
    codes = {flag["code"] for flag in answer["quality"]["flags"]}
    assert labels_of(samples, "marrowscope_day_flagged_ratio", "flag") - {None} == codes
    assert value(samples, "marrowscope_day_labelled_ratio", bundle="marrow", label=answer["label"]["value"]) == 1
    assert value(samples, "marrowscope_limit_stain_distance", bundle="marrow") > 0
    (path,) = folder.iterdir()
    assert path.name == "2026-03-02.json"
    assert answer["tile"]["sha256"] not in path.read_text()


def test_without_a_folder_there_are_no_values(bundle, analysis):
    metrics = Metrics()
    metrics.loaded(bundle)
    metrics.analysed(bundle, analysis)
    assert not [name for name, _ in parsed(metrics.text().decode()) if name.startswith("marrowscope_day")]


def test_threads_lose_no_tile(bundle, analysis, tmp_path):
    def add():
        for _ in range(5):
            Days(tmp_path).add(bundle, analysis)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (found,) = json.loads((tmp_path / "2026-03-02.json").read_text())["bundles"].values()
    focus = found["quantities"]["focus"]
    assert found["tiles"] == focus["n"] == 20
    assert focus["total"] == pytest.approx(20 * analysis.quality.focus)
    assert focus["low"] == focus["high"] == analysis.quality.focus


def test_the_area_of_nuclei_is_in_square_micrometres(bundle, sample, analysis):
    assert quantities(bundle, analysis)["nuclear_area_um2"] == pytest.approx(
        quantities(bundle, analyse(sample, bundle, max_pixels=10**7))["nuclear_area_um2"], rel=0.2
    )


def test_a_day_with_few_tiles_is_shown_only_if_there_is_no_better_one(bundle, tmp_path):
    stored(tmp_path, bundle, date(2026, 3, 2), ENOUGH_TILES - 1)
    assert value(shown(tmp_path, bundle), "marrowscope_day_stain_distance", bundle="marrow") == 2
    stored(tmp_path, bundle, date(2026, 3, 1), ENOUGH_TILES)
    assert value(shown(tmp_path, bundle), "marrowscope_day_stain_distance", bundle="marrow") == 1


def test_days_that_are_long_past_and_of_other_versions_are_not_shown(bundle, tmp_path):
    stored(tmp_path, bundle, date(2026, 2, 20), ENOUGH_TILES)
    text = (tmp_path / "2026-02-20.json").read_text().replace(bundle.sha256, "0" * 64)
    (tmp_path / "2026-03-02.json").write_text(text)
    assert value(shown(tmp_path, bundle), "marrowscope_day_tiles", bundle="marrow") == 0


def test_a_summary_that_cannot_be_written_refuses_no_tile(bundle, analysis, tmp_path, caplog):
    (tmp_path / "2026-03-02.json").write_text("damaged")
    metrics = Metrics(tmp_path)
    metrics.loaded(bundle)
    metrics.analysed(bundle, analysis)
    assert "a tile is missing in the daily summaries" in caplog.text
    assert (tmp_path / "2026-03-02.json").read_text() == "damaged"
    metrics.text()
