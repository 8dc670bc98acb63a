import pytest

from app.answer.model_card import describe_q
from tests.descriptions import describe_by_hand

ENCODER = {"width": 16}
CALIBRATION = {
    "temperature": 1.25,
    "cells": 4000,
    "tiles": 11,
    "folds": 4,
    "held_out": "patients",
    "agreement": 0.87,
    "error_before": 0.05,
    "error_after": 0.012,
}


def with_training(manifest, **changes):
    config = {"train": {"encoder": changes.pop("encoder")}} if "encoder" in changes else {}
    values = manifest.model_dump() | changes
    return type(manifest).model_validate(values | {"training": values["training"] | {"config": config}})


def test_q_on_an_encoder_is_called_so(manifest):
    text = describe_q(with_training(manifest, encoder=ENCODER))
    assert text.startswith("Q stands on an encoder")
    assert "tell most about the clusters of neighbouring cells" in text
    assert "paper" not in text


def test_q_of_the_paper_is_called_so(manifest):
    text = describe_q(with_training(manifest, encoder=None))
    assert "auxiliary network of the paper" in text
    assert "encoder" not in text


def test_unknown_training_is_not_guessed(manifest):
    assert "does not say" in describe_q(with_training(manifest))


def test_what_the_clusters_part_is_said_where_it_was_measured(manifest):
    explained = {"area": 0.86, "density": 0.2, "eccentricity": 0.17, "contrast": 0.01}
    metrics = manifest.metrics.model_dump() | {"explained": explained}
    text = describe_q(with_training(manifest, encoder=ENCODER, metrics=metrics))
    assert "86% of those in nuclear area, 20% in mean optical density, 17% in eccentricity, and 1% in" in text
    assert "explain" not in describe_q(with_training(manifest, encoder=ENCODER))


@pytest.mark.parametrize("encoder", [None, ENCODER])
def test_calibration_that_was_not_measured_is_not_claimed(manifest, encoder):
    assert describe_q(with_training(manifest, encoder=encoder)).endswith("was not measured.")


def test_calibration_is_given_with_what_it_was_measured_on(manifest):
    text = describe_q(with_training(manifest, encoder=ENCODER, q_calibration=CALIBRATION))
    assert "4000 cells of 11 tiles" in text
    assert "had not learned from these patients" in text
    for figure in ("87%", "0.050", "1.25", "0.012"):
        assert figure in text
    assert "not measured" not in text


def test_card_says_what_sets_each_cluster_apart_where_that_is_known(manifest):
    described = manifest.model_copy(update={"descriptions": describe_by_hand()})
    assert describe_q(described).endswith(
        "apart, measured on the training cells: "
        + " ".join(f"Cluster {k}: Large nuclei of {20 + k}." for k in range(5))
    )
    assert "apart" not in describe_q(manifest)
