import json
import re
import tomllib
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from app.pipeline.manifest import Manifest
from app.pipeline.presets import PRESETS
from tests.conftest import REPOSITORY
from training.config import (
    WITH_ENCODER,
    Config,
    as_dict,
    load_config,
    load_segmenter_config,
    read_config,
    write_config,
)
from training.errors import ConfigError

SHIPPED = sorted(path.stem for path in (REPOSITORY / "training" / "configs").glob("*.toml"))
WHOLE = ("cpu", "full", "smoke")
SMOKE = (REPOSITORY / "training" / "configs" / "smoke.toml").read_text(encoding="utf-8")


@pytest.fixture
def load(tmp_path):
    """Load a configuration from its text."""

    def write_and_load(text):
        path = tmp_path / "changed.toml"
        path.write_text(text, encoding="utf-8")
        return load_config(path)

    return write_and_load


def changed(key, value):
    """The smoke configuration with one line changed."""
    text, count = re.subn(rf"(?m)^{key} = .*$", f"{key} = {value}", SMOKE)
    assert count
    return text


@pytest.mark.parametrize("name", WHOLE)
def test_shipped_configuration_says_every_value(name):
    config = load_config(Path(name))
    assert config.preset in PRESETS
    path = REPOSITORY / "training" / "configs" / f"{name}.toml"
    written = tomllib.loads(path.read_text(encoding="utf-8"))
    assert asdict(load_segmenter_config(Path(name)).segmenter) == {
        key: tuple(value) if isinstance(value, list) else value for key, value in written.pop("segmenter").items()
    }
    assert as_dict(config) == written


def test_the_papers_configuration_has_its_numbers_and_no_encoder():
    train = asdict(load_config(Path("paper")).train)
    wanted = {
        "channels": 128,
        "n_clusters": 5,
        "latent_size": 32,
        "critic_steps": 5,
        "batch_size": 64,
        "learning_rate": 2e-4,
        "beta1": 0.5,
        "beta2": 0.9,
        "penalty_weight": 10.0,
        "code_weight": 1.0,
        "code_scale": 1.0,
        "mode_seeking_weight": 0.0,
        "ema_decay": 0.0,
        "crops": "nucleus",
    }
    assert wanted.items() <= train.items()


@pytest.mark.parametrize("name", SHIPPED)
def test_q_stands_on_an_encoder_in_every_configuration_but_the_papers(name):
    assert (load_config(Path(name)).train.encoder is None) == name.startswith("paper")


def test_no_configuration_but_its_own_claims_public_data():
    for name in SHIPPED:
        assert ("bm_graz" in str(load_config(Path(name)).data)) == (name == "bm_graz")


OWN_DATA = {
    "name": "ours",
    "description": "our tiles",
    "source": "our laboratory",
    "licence": "ours",
    "mpp": 0.5,
    "mpp_basis": "the scanner",
}
DATA = "[data]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in OWN_DATA.items())


def test_own_data_over_a_shipped_base(load):
    found, base = as_dict(load(f'base = "cpu"\n{DATA}')), as_dict(load_config(Path("cpu")))
    assert found.pop("data") == OWN_DATA
    base.pop("data")
    assert found == base


def test_base_is_changed_key_by_key(load):
    base = load_config(Path("smoke"))
    found = load(
        'base = "smoke"\npreset = "paper"\n[train]\nbatch_size = 4\n[train.encoder]\nepochs = 9\n[fit]\nmin_cells = 3\n'
    )
    train = replace(base.train, batch_size=4, encoder=replace(base.train.encoder, epochs=9))
    assert found == replace(base, preset="paper", train=train, fit=replace(base.fit, min_cells=3))


def test_data_are_described_as_a_whole(load):
    """Else one's own name could come with the licence and the scale of other tiles."""
    with pytest.raises(ConfigError, match="licence"):
        load('base = "bm_graz"\n[data]\nname = "ours"\n')


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('base = "gpu"\n', "gpu"),
        ("base = 1\n", "cpu"),
        ('base = "cpu"\n[train]\ntypo = 1\n', "typo"),
        ('base = "cpu"\ntrain = 1\n', "train"),
        ('base = "cpu"\n[typo]\nx = 1\n', "typo"),
        ("[train", "TOML"),
        ('base = "cpu"\n[data]\nname = 1\n', "data.name"),
    ],
)
def test_message_about_a_mistake_is_one_line(load, text, word):
    with pytest.raises(ConfigError, match=word) as error:
        load(text)
    assert "\n" not in str(error.value)


def test_seed_may_be_replaced():
    assert load_config(Path("smoke"), seed=7) == replace(
        load_config(Path("smoke")), train=replace(load_config(Path("smoke")).train, seed=7)
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("typo = 1\n" + SMOKE, id="top level"),
        pytest.param(SMOKE.replace("[fit]", "typo = 1\n[fit]"), id="in a section"),
        pytest.param(SMOKE + "typo = 1\n", id="in the last section"),
        pytest.param(SMOKE + "[typo]\nx = 1\n", id="a section"),
    ],
)
def test_unknown_key_is_an_error_that_names_it(load, text):
    with pytest.raises(ConfigError, match="typo"):
        load(text)


@pytest.mark.parametrize("key", ["preset", "channels", "seed", "licence", "blast_share"])
def test_missing_key_is_an_error_that_names_it(load, key):
    with pytest.raises(ConfigError, match=key):
        load(re.sub(rf"(?m)^{key} = .*\n", "", SMOKE))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("preset", '"other"'),
        ("channels", "0"),
        ("channels", '"many"'),
        ("n_clusters", "1"),
        ("n_clusters", "65"),
        ("code_scale", "inf"),
        ("mpp", "inf"),
        ("seed", str(2**32)),
        ("batch_size", "7"),
        ("batch_size", "0"),
        ("learning_rate", "0.0"),
        ("learning_rate", "nan"),
        ("beta1", "1.0"),
        ("beta2", "-0.1"),
        ("penalty_weight", "-1.0"),
        ("code_scale", "0.0"),
        ("ema_decay", "1.0"),
        ("precision", '"float16"'),
        ("critic_steps", "0"),
        ("log_every", "0"),
        ("seed", "-1"),
        ("mpp", "0.0"),
        ("svm_c", "0.0"),
        ("min_cells", "0"),
        ("blast_share", "[0.3]"),
        ("blast_share", "[0.3, 1.5]"),
        ("blast_share", "[0.8, 0.3]"),
    ],
)
def test_value_outside_its_range_is_an_error_that_names_it(load, key, value):
    with pytest.raises(ConfigError, match=key):
        load(changed(key, value))


@pytest.mark.parametrize(
    ("of_config", "of_manifest"),
    [
        ("TrainConfig.n_clusters", "Manifest.n_clusters"),
        ("TrainConfig.latent_size", "Manifest.latent_size"),
        ("TrainConfig.channels", "Architecture.channels"),
        ("TrainConfig.code_scale", "Architecture.code_scale"),
        ("TrainConfig.generator_iterations", "Training.iterations"),
        ("FitConfig.min_cells", "ImageLevel.min_cells"),
        ("DataConfig.mpp", "Manifest.mpp"),
    ],
)
def test_number_that_goes_into_the_manifest_has_the_range_that_it_allows(of_config, of_manifest):
    """Else hours of training end in a bundle that is refused."""
    manifest = Manifest.model_json_schema()
    manifest["$defs"]["Manifest"] = manifest

    def limits(schemas, path):
        model, field = path.split(".")
        rules = ("type", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        return {rule: value for rule, value in schemas[model]["properties"][field].items() if rule in rules}

    found = limits(TypeAdapter(Config).json_schema()["$defs"], of_config)
    assert found == limits(manifest["$defs"], of_manifest)
    assert len(found) > 1


def test_what_is_no_toml_or_not_there_is_an_error(load, tmp_path):
    with pytest.raises(ConfigError, match="changed"):
        load("[train")
    for path in (tmp_path / "nowhere.toml", Path("nowhere"), Path("../configs/nowhere")):
        with pytest.raises(ConfigError, match="nowhere"):
            load_config(path)


def test_a_segmenter_is_configured_by_its_own_section(load, tmp_path):
    run = load_segmenter_config(Path("smoke"), seed=3)
    assert run.segmenter == replace(load_segmenter_config(Path("smoke")).segmenter, seed=3)
    assert run.data == load_config(Path("smoke")).data
    write_config(run, tmp_path / "run")
    write_config(run, tmp_path / "run")
    with pytest.raises(ConfigError, match="another configuration"):
        write_config(load_segmenter_config(Path("smoke")), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"config\.json"):
        write_config(load_config(Path("smoke")), tmp_path / "run")


def test_a_configuration_without_a_segmenter_trains_everything_else(tmp_path):
    file = tmp_path / "own.toml"
    file.write_text(SMOKE[: SMOKE.index("[segmenter]")], encoding="utf-8")
    assert load_config(file) == load_config(Path("smoke"))
    with pytest.raises(ConfigError, match="segmenter"):
        load_segmenter_config(file)


def test_run_keeps_its_configuration(smoke, tmp_path):
    write_config(smoke, tmp_path / "run")
    assert read_config(tmp_path / "run") == smoke
    write_config(smoke, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8")) == as_dict(smoke)


def test_run_of_another_configuration_is_not_overwritten(smoke, tmp_path):
    write_config(smoke, tmp_path)
    with pytest.raises(ConfigError, match="another configuration"):
        write_config(load_config(Path("smoke"), seed=1), tmp_path)
    assert read_config(tmp_path) == smoke


def test_description_of_the_data_may_change_later(smoke, tmp_path):
    write_config(smoke, tmp_path)
    renamed = replace(smoke, data=replace(smoke.data, name="ours"))
    write_config(renamed, tmp_path)
    assert read_config(tmp_path) == renamed
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"{}"])
def test_damaged_configuration_of_a_run_is_named(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"config\.json") as error:
        read_config(tmp_path)
    assert "\n" not in str(error.value)


def test_directory_without_a_run_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.json"):
        read_config(tmp_path)


@pytest.mark.parametrize("key", WITH_ENCODER)
def test_what_only_a_q_on_an_encoder_has_is_refused_without_one(load, key):
    """A run would pass over it in silence."""
    with pytest.raises(ConfigError, match=f"{key} has no effect without"):
        load(f'base = "paper"\n[train]\n{key} = 1\n')


@pytest.mark.parametrize("key", ["near_share", "epochs"])
def test_an_encoder_is_described_by_its_own_section(load, key):
    assert load(SMOKE.replace("near_share = 0.5", "near_share = 0.25")).train.encoder.near_share == 0.25
    with pytest.raises(ConfigError, match=f"train.encoder.{key}"):
        load(re.sub(rf"(?m)^{key} = .*$", f"{key} = -1", SMOKE))
