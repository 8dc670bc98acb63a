import time

import pytest

from app.pipeline.errors import UnequalAxes
from app.pipeline.headers.declared_scale import (
    DeclaredScale,
    scale_of_axes,
    scale_of_jpeg,
    scale_of_objective,
    scale_of_png,
    scale_of_tiff,
)

NONE = (None, None)
APERIO = "Aperio Image Library v12.0.15\r\n400x400 [0,0 400x400] (208x208) JPEG/RGB Q=88"


def ome(attributes: str, before: str = "") -> str:
    return (
        f'<?xml version="1.0"?>{before}<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        '<Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" SizeX="4" SizeY="4" {attributes}></Pixels></Image></OME>'
    )


@pytest.mark.parametrize(
    ("description", "resolution", "unit", "expected"),
    [
        pytest.param("", (20_000, 20_000), 3, (0.5, 0.5, "tiff_resolution"), id="per cm"),
        pytest.param("", (25_400 / 0.3, 25_400 / 0.3), 2, (0.3, 0.3, "tiff_resolution"), id="per inch"),
        pytest.param("", (20_000, 40_000), 3, (0.5, 0.25, "tiff_resolution"), id="unequal"),
        pytest.param("", (20_000, 1), 3, (0.5, 0.5, "tiff_resolution"), id="one axis"),
        *(pytest.param("", (dpi, dpi), 2, None, id=f"{dpi} dpi") for dpi in (0, 1, 72, 96, 300)),
        pytest.param("", (20_000, 20_000), 1, None, id="no unit"),
        pytest.param("", (float("nan"), float("inf")), 3, None, id="no numbers"),
        pytest.param(ome('PhysicalSizeX="0.5" PhysicalSizeY="0.5"'), (72, 72), 2, (0.5, 0.5, "ome_xml"), id="OME"),
        pytest.param(
            ome('PhysicalSizeX="500" PhysicalSizeXUnit="nm" PhysicalSizeY="0.0005" PhysicalSizeYUnit="mm"'),
            (40_000, 40_000),
            3,
            (0.5, 0.5, "ome_xml"),
            id="OME with units",
        ),
        pytest.param(ome(""), (20_000, 20_000), 3, (0.5, 0.5, "tiff_resolution"), id="OME without sizes"),
        pytest.param("ImageJ=1.54f\nunit=micron\n", (4, 4), 1, (0.25, 0.25, "imagej"), id="ImageJ"),
        pytest.param("ImageJ=1.54f\nunit=\\u00B5m\n", (4, 4), 1, (0.25, 0.25, "imagej"), id="ImageJ's escape"),
        pytest.param("ImageJ=1.54f\nunit=pixel\n", (4, 4), 1, None, id="ImageJ without scale"),
        pytest.param(f"{APERIO}|AppMag = 20|MPP = 0.4990", (1, 1), 1, (0.499, 0.499, "aperio"), id="Aperio"),
        pytest.param(f"{APERIO}|AppMag = 20", (1, 1), 1, (0.5, 0.5, "objective"), id="Aperio's objective"),
        pytest.param(
            f"{APERIO}|AppMag = 40", (20_000, 20_000), 3, (0.5, 0.5, "tiff_resolution"), id="tags before the objective"
        ),
        pytest.param("anything|MPP = 0.499", NONE, None, None, id="another program's text"),
    ],
)
def test_a_tiff_is_asked_in_the_order_of_trust(description, resolution, unit, expected):
    found = scale_of_tiff(description, resolution, unit)
    if expected is None:
        assert found is None
    else:
        assert (found.mpp_x, found.mpp_y) == pytest.approx(expected[:2], rel=1e-6)
        assert found.source == expected[2]


def test_entities_of_xml_are_not_expanded():
    lol = "".join(f'<!ENTITY l{i + 1} "{f"&l{i};" * 10}">' for i in range(9))
    before = f'<!DOCTYPE OME [<!ENTITY l0 "9">{lol}]>'
    start = time.thread_time()
    assert scale_of_tiff(ome('PhysicalSizeX="&l9;" PhysicalSizeY="0.5"', before), NONE, None) is None
    assert time.thread_time() - start < 1


@pytest.mark.parametrize("text", ["<OME", "<OME>" * 300_000, ome('PhysicalSizeX="x"'), "Aperio|MPP=" + "9" * 10**6])
def test_nonsense_is_no_scale(text):
    assert scale_of_tiff(text, NONE, None) is None


@pytest.mark.parametrize(("power", "mpp"), [(40, 0.25), (20, 0.5), (10, 1.0), (0, None), (1, None), (None, None)])
def test_an_objective_has_the_usual_scale_of_scanners(power, mpp):
    assert scale_of_objective(power) == (None if mpp is None else DeclaredScale(mpp, mpp, "objective"))


def test_png_and_jpeg_give_pixels_per_inch_or_cm():
    assert scale_of_png((101_600, 101_600)) == DeclaredScale(0.25, 0.25, "png_phys")
    assert scale_of_png((96, 96)) is scale_of_png(None) is None
    assert scale_of_jpeg((20_000, 20_000), 2) == DeclaredScale(0.5, 0.5, "jfif")
    assert scale_of_jpeg((50_800, 50_800), 1) == DeclaredScale(0.5, 0.5, "jfif")
    assert scale_of_jpeg((20_000, 20_000), 0) is scale_of_jpeg((300, 300), 1) is None


def test_axes_that_agree_have_their_mean_and_others_are_refused_with_both_values():
    assert scale_of_axes(0.25, 0.257, "slide_metadata").square_mpp() == pytest.approx(0.2535)
    with pytest.raises(UnequalAxes, match=r"0\.5 µm along x and 0\.25 µm along y") as refused:
        scale_of_axes(0.5, 0.25, "slide_metadata").square_mpp()
    assert "give mpp" in str(refused.value)
