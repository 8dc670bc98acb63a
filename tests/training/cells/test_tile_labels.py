from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest

from training.cells.tile_labels import TileLabels, check_enough, read_labels
from training.errors import LabelsError

TILES = [Path("tiles") / name for name in ("a.png", "b.tif", "c.1.png", "d.png", "e.png", "f.png", "g.png", "h.png")]
NAMES = [tile.name for tile in TILES]
VALUES = ["normal", "abnormal"] * 4
ROWS = [f"{name},{label}" for name, label in zip(NAMES, VALUES, strict=True)]


@pytest.fixture
def read(tmp_path):
    """Read a table from its header and rows, or its bytes."""

    def write_and_read(head, rows=(), tiles=TILES, encoding="utf-8"):
        path = tmp_path / "labels.csv"
        path.write_bytes(head if isinstance(head, bytes) else "\n".join([head, *rows, ""]).encode(encoding))
        return read_labels(path, tiles)

    return write_and_read


@pytest.fixture
def refuse(read):
    """Read a table that must be refused, and return the message: one line with the name of the file."""

    def attempt(*table, **options):
        with pytest.raises(LabelsError) as error:
            read(*table, **options)
        message = str(error.value)
        assert "labels.csv" in message
        assert "\n" not in message
        return message

    return attempt


def test_labels_come_in_the_order_of_the_tiles(read):
    labels = read("tile,label", ROWS[::-1])
    assert labels.abnormal.tolist() == [0, 1] * 4
    assert labels.patients is None
    assert labels.counts() == {"normal": 4, "abnormal": 4}


def test_patients_are_numbered_and_their_names_are_not_kept(read):
    patients = ["Ann", "Ann", "Bo", "Bo", "Cy", "Di", "Ed", "Flo"]
    labels = read("tile,label,patient", [f"{row},{who}" for row, who in zip(ROWS, patients, strict=True)])
    assert labels.patients.tolist() == [0, 0, 1, 1, 2, 3, 4, 5]
    assert labels.n_patients == 6
    assert not any("Ann" in str(array) for array in labels.as_arrays().values())


@pytest.mark.parametrize(
    ("head", "change", "encoding"),
    [
        pytest.param("tile,label", lambda row: row.replace(".png", "").replace(".tif", ""), "utf-8", id="no suffix"),
        pytest.param(" Tile , LABEL", lambda row: f" {row} ", "utf-8", id="spaces"),
        pytest.param(
            "tile,label", lambda row: row.replace("normal", "Normal ").replace("abN", "ABN"), "utf-8", id="case"
        ),
        pytest.param("tile;label", lambda row: row.replace(",", ";"), "utf-8-sig", id="a spreadsheet's semicolons"),
        pytest.param("tile\tlabel", lambda row: row.replace(",", "\t") + "\r", "utf-8", id="tabs and CRLF"),
        pytest.param("label,tile", lambda row: ",".join(row.split(",")[::-1]), "utf-8", id="other order"),
        pytest.param("tile,label,,", lambda row: f"{row},,\n,,,", "utf-8", id="empty columns and rows"),
        pytest.param("tile,label", lambda row: '"' + row.replace(",", '","') + '"', "utf-8", id="quotes"),
    ],
)
def test_what_people_and_spreadsheets_write_is_understood(read, head, change, encoding):
    labels = read(head, [change(row) for row in ROWS], encoding=encoding)
    assert labels.abnormal.tolist() == [0, 1] * 4


def test_umlaut_may_be_composed_otherwise_on_the_disk(read):
    tiles = [Path("tiles") / normalize("NFD", f"Tüte {i}.png") for i in range(8)]
    rows = [normalize("NFC", f"Tüte {i},{VALUES[i]}") for i in range(8)]
    assert read("tile,label", rows, tiles=tiles).abnormal.tolist() == [0, 1] * 4


def test_tiles_of_one_name_are_distinguished_by_their_suffix(read, refuse):
    tiles = [*TILES[:-1], Path("tiles/a.tif")]
    rows = [*ROWS[:-1], "a.tif,abnormal"]
    assert read("tile,label", rows, tiles=tiles).abnormal.tolist() == [0, 1] * 4
    message = refuse("tile,label", [*ROWS[:-1], "a,abnormal"], tiles=tiles)
    assert "row 9" in message
    assert "a.png or a.tif" in message


@pytest.mark.parametrize(
    "head", ["tile", "tile,lable", "a.png,normal", "tile,label,patients", "tile,label,label", "tile,label,age", ""]
)
def test_other_columns_are_refused(refuse, head):
    message = refuse(head, ROWS)
    assert "row 1" in message
    assert "tile, label and, if known, patient" in message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(lambda rows: [*rows, rows[2]], ["row 10", "c.1.png", "row 4"], id="a tile twice"),
        pytest.param(lambda rows: [*rows, "a,normal"], ["row 10", "a.png", "row 2"], id="twice by two names"),
        pytest.param(lambda rows: [*rows, "", "x.png,normal"], ["row 11", "'x.png'"], id="an unknown tile"),
        pytest.param(lambda rows: rows[:-1], ["h.png"], id="a tile without a row"),
        pytest.param(lambda rows: rows[:5], ["f.png", "2 more"], id="three tiles without a row"),
        pytest.param(lambda rows: [*rows[:3], "d.png,sick", *rows[4:]], ["row 5", "'sick'"], id="an unknown label"),
        pytest.param(lambda rows: [*rows[:3], "d.png", *rows[4:]], ["row 5", "''"], id="no label"),
    ],
)
def test_mistake_in_a_row_is_named(refuse, change, words):
    message = refuse("tile,label", change(ROWS))
    assert all(word in message for word in words)


def test_patient_is_given_for_all_tiles_or_none(refuse):
    rows = [f"{row},{'' if i == 3 else i}" for i, row in enumerate(ROWS)]
    assert "row 5: there is no patient" in refuse("tile,label,patient", rows)


def test_too_few_tiles_of_a_label_are_refused_with_both_numbers(refuse):
    message = refuse(
        "tile,label", [row.replace(",abnormal", ",normal") if i < 6 else row for i, row in enumerate(ROWS)]
    )
    assert "'abnormal' needs at least 4 tiles, found 1" in message


def test_too_few_patients_with_a_label_are_refused_with_both_numbers(refuse):
    rows = [f"{row},{'p' if i % 2 == 0 else i}" for i, row in enumerate(ROWS)]
    assert "'normal' needs at least 4 patients with such tiles, found 1" in refuse("tile,label,patient", rows)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"\n\n", id="blank"),
        pytest.param("tile,label\nü.png,normal\n".encode("latin-1"), id="another encoding"),
        pytest.param("tile\tlabel\n".encode("utf-16"), id="UTF-16"),
        pytest.param(b"PK\x03\x04\x14\x00\x06\x00\xff\xfe", id="a workbook"),
        pytest.param(b'tile,label\n"a.png,normal\n', id="an open quotation mark"),
    ],
)
def test_file_that_is_no_table_is_refused(refuse, content):
    refuse(content)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: None], ids=["directory", "missing"])
def test_file_that_cannot_be_read_is_refused(tmp_path, make):
    make(tmp_path / "labels.csv")
    with pytest.raises(LabelsError, match=r"labels\.csv cannot be read"):
        read_labels(tmp_path / "labels.csv", TILES)


def test_enough_is_judged_of_what_is_left():
    labels = TileLabels(np.array([0, 1] * 5), None)
    check_enough(labels, "all")
    with pytest.raises(LabelsError, match="some: 'normal' needs at least 4 tiles, found 3"):
        check_enough(labels.only(np.arange(3, 10)), "some")


@pytest.mark.parametrize("patients", [None, np.array([3, 1])])
def test_labels_come_back_from_their_arrays(patients):
    stored = {"crops": np.zeros(3), **TileLabels(np.array([1, 0]), patients).as_arrays()}
    found = TileLabels.from_arrays(stored)
    assert found.abnormal.tolist() == [1, 0]
    assert found.patients is None if patients is None else found.patients.tolist() == [3, 1]
    assert TileLabels.from_arrays({"crops": np.zeros(3)}) is None
