"""The command line that a batch over HTTP becomes."""

from dataclasses import replace
from itertools import pairwise

from app.jobs.command import batch_command
from app.settings import Settings
from tests.jobs.orders import new_batch


def test_the_command_has_every_parameter_of_the_form(tmp_path):
    batch = new_batch("study")
    given = {"mpp": 0.5, "frame": "canvas", "precision": "full", "map": "area"}
    order = batch.order.model_copy(update={"parameters": batch.order.parameters.model_copy(update=given)})
    command = batch_command(Settings())(replace(batch, order=order), tmp_path)
    assert "/slides/study" in command
    options = set(pairwise(command))
    assert options >= {("--mpp", "0.5"), ("--frame", "canvas"), ("--precision", "full"), ("--bundle", "marrow")}
    assert ("--map", "area") in options
