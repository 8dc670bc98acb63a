"""The tables of the documentation are complete: each lists what the code has, no more and no less."""

import json
import re
from dataclasses import fields

from app.answer.formats import FORMATS
from app.answer.schemas import AnalysisOut, LabelOut
from app.observe.metrics import Metrics
from app.settings import Settings
from tests.conftest import REPOSITORY
from tests.docs.pages import quoted, table
from training.config import WITH_ENCODER, EncoderConfig


def test_folders_of_the_code():
    listed = {folder for row in table("CONTRIBUTING.md", "Where things live") for folder in quoted(row[0])}
    packages = {path.parent.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.glob("app/**/__init__.py")}
    packages |= {path.parent.relative_to(REPOSITORY).as_posix() for path in REPOSITORY.glob("training/**/__init__.py")}
    assert packages - {"app", "training"} <= listed
    assert all((REPOSITORY / folder).exists() for folder in listed)


def test_settings():
    listed = [setting for row in table("docs/settings.md", "Settings") for setting in quoted(row[0])]
    assert sorted(listed) == sorted(f"MARROWSCOPE_{field}".upper() for field in Settings.model_fields)


def test_keys_of_an_encoder():
    of_train, of_encoder = (
        {key for row in table("docs/train.md", heading) for key in quoted(row[0])}
        for heading in ("The encoder and the GAN", "The section of the encoder")
    )
    assert of_train == {"crops", *WITH_ENCODER}
    assert of_encoder == {field.name for field in fields(EncoderConfig)}


def test_metrics():
    listed = [metric for row in table("docs/laboratory.md", "Monitor it") for metric in quoted(row[0])]
    text = Metrics().text().decode()
    assert {metric for metric in listed if metric.startswith("marrowscope_")} == set(
        re.findall(r"(?m)^# TYPE (marrowscope_\w+)", text)
    )


def test_formats():
    listed = {quoted(row[0])[0]: quoted(row[1]) for row in table("docs/answer.md", "The formats")}
    assert listed.keys() == FORMATS.keys()
    for name, media_types in listed.items():
        assert media_types in ([], [FORMATS[name].media_type])


def test_parts_of_the_answer():
    listed = [part for row in table("docs/answer.md", "The fields") for part in quoted(row[0])]
    assert sorted(listed) == sorted(AnalysisOut.model_fields)


def test_parts_of_the_label():
    listed = [part for row in table("docs/answer.md", "The label") for part in quoted(row[0])]
    assert sorted(listed) == sorted(LabelOut.model_fields)


def test_flags():
    described = json.loads((REPOSITORY / "openapi.json").read_text(encoding="utf-8"))
    text = described["components"]["schemas"]["FlagOut"]["properties"]["code"]["description"]
    listed = {quoted(row[0])[0] for row in table("docs/answer.md", "Quality flags")}
    assert listed >= set(re.findall(r"\b[a-z]+_[a-z_]+\b", text))
    assert all(re.search(rf"\b{code}\b", text) for code in listed)


def test_statuses():
    described = json.loads((REPOSITORY / "openapi.json").read_text(encoding="utf-8"))
    declared = {status for path in described["paths"].values() for way in path.values() for status in way["responses"]}
    listed = {status for row in table("docs/use.md", "Errors") for status in row[0].split(", ")}
    assert listed == {status for status in declared if int(status) >= 400}
