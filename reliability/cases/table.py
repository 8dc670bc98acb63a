"""The cases: each input, how it is put to the program, and what has to come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reliability.cases.drive import (
    Drive,
    as_form,
    batch,
    by_proxy,
    long_name,
    post,
    post_form,
    shell,
    with_extended_name,
    with_preamble,
)


@dataclass(frozen=True)
class Check:
    """A condition on a member of what came back.

    Attributes:
        words: the condition, for the table.
        holds: whether a value meets it.
    """

    words: str
    holds: Callable[[Any], bool]


def has(part: str) -> Check:
    """The text or the list contains this."""
    return Check(f"has {part!r}", lambda value: value is not None and part in value)


def lacks(part: str) -> Check:
    """The text or the list is there, and does not contain this."""
    return Check(f"lacks {part!r}", lambda value: value is not None and part not in value)


def at_most(limit: float) -> Check:
    """The number is there, and not larger than this."""
    return Check(f"at most {limit:g}", lambda value: value is not None and value <= limit)


@dataclass(frozen=True)
class Case:
    """One input and the right outcome.

    Attributes:
        input: the path of the file below the folder of the cases; a folder where the input is a request or a command.
        how: how it is put to the program, in words.
        drive: puts it to the program.
        right: what has to come back: values or conditions, by the name of the member.
        is_drawn: whether the repository draws the input itself; otherwise the case is for a folder that has the file.
    """

    input: str
    how: str
    drive: Drive
    right: Mapping[str, Any]
    is_drawn: bool = True


_FRAME = {"exit": 0, "width": 512, "height": 512, "right_edge": at_most(512), "lower_edge": at_most(512)}
_STORED = {"tile.width": 400, "tile.height": 300, "flags": has("orientation_ignored")}
_MARROW = {"exit": 0, "region_names": ["Marrow"]}
_KINDS = {
    "jpeg2000.tif": "compressed with JPEG 2000",
    "png.tif": "compressed with PNG",
    "float32.tif": "found 32",
    "three_grey_planes.tif": "3 grey",
}
"""What is named when a TIFF of a rare kind is refused."""
_READ_BY_BATCHES = ("jpeg2000.tif", "png.tif")

CASES: tuple[Case, ...] = (
    Case("01-qupath-bounds/bounds.scn", "batch", batch(), _FRAME | {"frame.x": 384, "frame.y": 256}),
    Case(
        "01-qupath-bounds/bounds.scn",
        "batch --regions",
        batch("--regions", "roi.geojson"),
        _FRAME | {"region_names": ["Marrow"], "right_edge": at_most(260)},
    ),
    Case("01-qupath-bounds/bounds.scn", "batch --frame canvas", batch("--frame", "canvas"), {"width": 1024}),
    Case("02-label-on-other-tissue/histo.jpg", "POST", post(), {"label.value": "indeterminate"}, is_drawn=False),
    Case(
        "02-label-on-other-tissue/histo.jpg",
        "POST ?mpp=0.25",
        post("mpp=0.25"),
        {"label.value": "indeterminate"},
        is_drawn=False,
    ),
    *(
        case
        for name, source in (("single.ome.tif", "ome_xml"), ("cm_tags.tif", "tiff_resolution"))
        for case in (
            Case(
                f"03-declared-scale-ignored/{name}",
                "POST",
                post(),
                {"status": 200, "tile.mpp": 0.5, "tile.mpp_source": source, "flags": lacks("mpp_unknown")},
            ),
            Case(
                f"03-declared-scale-ignored/{name}",
                "POST ?mpp=0.25",
                post("mpp=0.25"),
                {"tile.mpp": 0.25, "tile.mpp_source": "request", "flags": has("scale_conflict")},
            ),
            Case(f"03-declared-scale-ignored/{name}", "batch", batch(), {"exit": 0, "mpp": 0.5, "mpp_source": source}),
        )
    ),
    Case(
        "04-detections-as-regions/tile.jpg",
        "batch --regions qupath02.geojson",
        batch("--regions", "qupath02.geojson"),
        _MARROW,
    ),
    Case(
        "04-detections-as-regions/tile.jpg",
        "batch --regions qupath03.geojson",
        batch("--regions", "qupath03.geojson"),
        _MARROW,
    ),
    Case(
        "05-classification-forms/tile.jpg",
        "batch --regions ignore_string.geojson",
        batch("--regions", "ignore_string.geojson"),
        _MARROW,
    ),
    Case(
        "05-classification-forms/tile.jpg",
        "batch --regions names.geojson",
        batch("--regions", "names.geojson"),
        {"exit": 0, "region_names": ["Tumor: Positive", "Stroma"]},
    ),
    Case("06-exif-orientation/exif6.jpg", "POST", post(), _STORED),
    Case("06-exif-orientation/orient6.tif", "POST", post(), _STORED),
    Case("06-exif-orientation/exif6.jpg", "batch", batch(), {"exit": 0, "width": 400, "height": 300}),
    Case("07-anisotropic/aniso.tif", "batch", batch(), {"exit": 1, "output": has("not square")}),
    Case("07-anisotropic/aniso.tif", "POST", post(), {"status": 415, "detail": has("not square")}),
    Case("07-anisotropic/aniso.tif", "batch --mpp", batch("--mpp", "0.5"), {"exit": 0, "mpp": 0.5}),
    Case("08-svs-without-mpp/nompp.svs", "batch", batch(), {"exit": 0, "mpp": 0.5, "mpp_source": "objective"}),
    Case("08-svs-without-mpp/nompp.svs", "POST", post(), {"tile.mpp": 0.5, "tile.mpp_source": "objective"}),
    *(
        Case(f"09-tiff-codecs/{name}", "POST", post(), {"status": 415, "detail": has(word)})
        for name, word in _KINDS.items()
    ),
    *(
        Case(
            f"09-tiff-codecs/{name}",
            "batch",
            batch(),
            {"exit": 0, "width": 192} if name in _READ_BY_BATCHES else {"exit": 1, "output": has(word)},
        )
        for name, word in _KINDS.items()
    ),
    Case("10-phone-jpeg/phone.jpg", "POST", post(), {"status": 200, "tile.width": 300}),
    Case("11-long-name/tile.jpg", "analyze", long_name, {"tiles_in_summary": 3, "files": has("c.geojson")}),
    *(
        Case("12-ignored-parameters", f"POST ?{query}", post(query), {"status": 422, "detail": has(name)})
        for query, name in (("MPP=0.5", "MPP"), ("mmp=0.5", "mmp"), ("fomat=csv", "fomat"))
    ),
    Case("12-ignored-parameters", "POST -F mpp=", post(mpp="0.5"), {"status": 400, "detail": has("query")}),
    Case("13-slow-upload", "POST in 9 s, 3 s allowed", post_form(as_form, pieces=30, pause_s=0.3), {"status": 200}),
    *(
        Case(
            "14-help-not-unicode",
            f"{command} --help in {encoding}",
            shell(command, "--help", PYTHONIOENCODING=encoding),
            {"exit": 0, "output": has("--")},
        )
        for command, encoding in (("analyze", "ascii"), ("batch", "cp932"))
    ),
    Case("15-prefix-prototypes-url", "POST", by_proxy, {"prototypes": has("http://proxy/tools/marrow/prototypes/0")}),
    *(
        Case(
            "17-regions-dropped/tile.jpg",
            f"batch --regions {name}",
            batch("--regions", name),
            {"exit": 0, "region_names": names},
        )
        for name, names in (("collection.geojson", ["gc", "good"]), ("one_bad.geojson", ["Marrow"]))
    ),
    Case("18-pyramid-to-analyze/pyramid.tif", "POST", post(), {"status": 200, "tile.width": 400}),
    Case("19-filename-star", "POST, filename* alone", post_form(with_extended_name), {"status": 200}),
    Case("19-filename-star", "POST, a preamble", post_form(with_preamble), {"status": 200}),
)
