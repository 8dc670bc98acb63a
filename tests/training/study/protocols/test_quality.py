import json
import sys

import numpy as np
import pytest
from PIL import Image

from app.pipeline.manifest import QualityReference
from app.pipeline.presets import DEFAULT
from tests.drawing import draw_tile, grid_of_centres
from training import __main__ as command_line
from training.errors import DataError
from training.study.protocols import degrade
from training.study.protocols import quality as evaluate_quality

SHAPE = (420, 440)
TEST_TILE = "BM_GRAZ_HE_0007_01"


@pytest.fixture(scope="module")
def bm_graz(tmp_path_factory):
    """Three drawn tiles, one of them of the test split."""
    directory = tmp_path_factory.mktemp("bm_graz")
    (directory / "tiles").mkdir()
    for seed, name in enumerate(("a", "b", TEST_TILE)):
        tile = draw_tile(grid_of_centres(SHAPE), shape=SHAPE, radius=14, seed=seed)
        Image.fromarray(tile).save(directory / "tiles" / f"{name}.png")
    return directory


@pytest.fixture(scope="module")
def result(bm_graz):
    """Of a few conditions."""
    with pytest.MonkeyPatch.context() as patch:
        shorten(patch)
        return evaluate_quality.evaluate_quality(bm_graz, DEFAULT)


def shorten(patch):
    some = ("as it is", "blur, σ 2.5 px", "stain ×0.5")
    patch.setattr(evaluate_quality, "CLEAN_CROPS", 7)
    patch.setattr(evaluate_quality, "CONDITIONS", {name: degrade.CONDITIONS[name] for name in some})
    patch.setattr(evaluate_quality, "PICTURES", {"white tile": degrade.PICTURES["white tile"]})


def test_each_split_is_judged_by_the_reference_of_its_own(result):
    assert set(result["references"]) == {"tune", "all"}
    assert set(result["conditions"]) == set(result["false_alarms"]) == {"test", "tune", "all"}
    for reference in result["references"].values():
        QualityReference.model_validate(reference)


def test_views_are_counted(result):
    for split, tiles in (("test", 1), ("tune", 2), ("all", 3)):
        found = result["conditions"][split]["blur, σ 2.5 px"]
        assert found["wanted"] == ["blurred"]
        assert found["tile"]["views"] == tiles
        assert found["crop"]["views"] == 2 * tiles
        assert result["conditions"][split]["white tile"]["picture"]["views"] == 1
    assert [result["false_alarms"][split]["crops"] for split in ("test", "tune", "all")] == [3, 4, 7]


def test_right_flags_and_none_for_nothing_are_counted_as_right(result):
    for conditions in result["conditions"].values():
        assert {kind["right"] for found in conditions.values() for kind in found.values() if "right" in kind} == {1.0}
        assert conditions["blur, σ 2.5 px"]["tile"]["flags"]["blurred"] == 1
        assert conditions["as it is"]["tile"]["flags"] == dict.fromkeys(evaluate_quality.CODES, 0)
    assert {alarms["any"] for alarms in result["false_alarms"].values()} == {0.0}
    assert "mpp_unknown" not in evaluate_quality.CODES


def test_without_test_tiles_the_reference_is_of_all(bm_graz, tmp_path, monkeypatch):
    shorten(monkeypatch)
    (tmp_path / "tiles").mkdir()
    (tmp_path / "tiles" / "one.png").write_bytes((bm_graz / "tiles" / "a.png").read_bytes())
    assert set(evaluate_quality.evaluate_quality(tmp_path, DEFAULT)["conditions"]) == {"tune", "all"}


def test_directory_without_tiles_is_an_error(tmp_path):
    with pytest.raises(DataError, match="holds no"):
        evaluate_quality.evaluate_quality(tmp_path, DEFAULT)


def test_command_writes_what_the_report_reads(bm_graz, tmp_path, monkeypatch, capsys, shipped_bundle):
    shorten(monkeypatch)
    for arguments in (
        ("evaluate", "quality", bm_graz, tmp_path / "results"),
        ("report", tmp_path / "results", tmp_path / "results.md", "--bundle", shipped_bundle),
    ):
        monkeypatch.setattr(sys, "argv", ["training", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            command_line.main()
        assert not ended.value.code
        if arguments[0] == "evaluate":
            stored = (tmp_path / "results" / "quality.json").read_text(encoding="utf-8")
            assert json.loads(stored) == json.loads(capsys.readouterr().out)
    text = (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "`python -m training evaluate quality " in text
    assert "| blur, σ 2.5 px | blurred | 1.00 | 1.00 | – | 1.00 |" in text
    assert "| white tile | little_tissue | – | – | 1.00 |" in text


@pytest.mark.parametrize("name", degrade.CONDITIONS)
def test_degrading_leaves_its_input_alone_and_gives_a_tile(name):
    tile = draw_tile(grid_of_centres())
    before = tile.copy()
    changed = degrade.CONDITIONS[name].change(tile)
    np.testing.assert_array_equal(tile, before)
    assert changed.dtype == np.uint8
    assert changed.ndim == 3
    assert changed.shape[2] == 3
    np.testing.assert_array_equal(changed, degrade.CONDITIONS[name].change(tile))
    assert np.array_equal(changed, tile) == (name == "as it is")


def test_changes_of_nothing_give_the_tile_back():
    tile = draw_tile(grid_of_centres())
    for change in (degrade.stain_strength(1), degrade.expose(1), degrade.crush(0), degrade.resample(1)):
        np.testing.assert_array_equal(change(tile), tile)
    assert np.abs(degrade.turn_hue(360)(tile).astype(int) - tile).max() <= 1


def test_half_the_stain_is_half_the_density():
    tile = np.full((4, 4, 3), (200, 120, 160), np.uint8)
    halved = degrade.stain_strength(0.5)(tile)
    before, after = (np.log(256 / (pixels[0, 0] + 1.0)) for pixels in (tile, halved))
    np.testing.assert_allclose(after, before / 2, atol=0.01)
