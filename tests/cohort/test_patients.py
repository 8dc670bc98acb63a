import unicodedata

import pytest

from app.cohort.naming import Ambiguous
from app.cohort.patients import PatientsError, patients_of_slides, read_patients
from tests.cohort.slides import slides_at


@pytest.fixture
def table(tmp_path):
    def write(content):
        path = tmp_path / "patients.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def assigned(table):
    """Return the patient of each slide that a table with these rows gives, and its warnings."""

    def assigned(rows, *paths):
        lines = [f"{slide},{patient}" for slide, patient in rows.items()]
        return patients_of_slides(table("\n".join(["slide,patient", *lines])), slides_at(*paths))

    return assigned


ROWS = {"a.svs": "Müller", "b": "P, 2"}
QUOTED = 'slide{0}patient\r\na.svs{0}Müller\r\nb{0}"P, 2"\r\n'


@pytest.mark.parametrize(
    "content",
    [
        QUOTED.format(",").encode(),
        QUOTED.format(";").encode("utf-8-sig"),
        QUOTED.format("\t").encode("utf-16"),
        QUOTED.format("\t").encode("utf-16-be").join([b"\xfe\xff", b""]),
        ("sep=;\r\n" + QUOTED.format(";")).encode(),
        QUOTED.format(";").replace("\r\n", "\r").encode(),
        QUOTED.format(",").replace("slide", '"Slide"').replace("patient", " PATIENT").encode(),
        b"\n\n" + QUOTED.format(",").encode() + b",\r\n\r\n",
        b"age,slide,patient\n80,a.svs,M\xc3\xbcller,,\n,b,\"P, 2\"\n",
    ],
    ids=["commas", "semicolons", "Unicode text", "big-endian", "sep", "old Macintosh", "capitals", "empty", "columns"],
)  # fmt: skip
def test_table_of_any_spreadsheet_is_read(table, content):
    found = read_patients(table(content))
    assert (found.patients, found.warnings) == (ROWS, ())


def test_patient_is_one_however_the_letters_of_the_name_are_stored(table):
    rows = "".join(f"{slide},{unicodedata.normalize(form, 'Müller')}\n" for slide, form in (("a", "NFC"), ("b", "NFD")))
    patients = read_patients(table(f"slide,patient\n{rows}sep=c,Smith\n")).patients
    assert patients == {"a": "Müller", "b": "Müller", "sep=c": "Smith"}


def test_table_in_latin_letters_is_read_and_its_names_are_shown(table):
    found = read_patients(table(QUOTED.format(";").encode("cp1252")))
    assert found.patients == ROWS
    assert len(found.warnings) == 1
    assert "was read as Windows-1252" in found.warnings[0]
    assert "a.svs;Müller." in found.warnings[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "found nothing"),
        ("slide|patient\na|b\n", r"separated by commas, semicolons or tabs; found slide\|patient"),
        ("slide,age\na,80\n", "found slide,age"),
        ("slide,patient,slide\na,A,b\n", "the column slide several times"),
        ("slide,patient\na,A\nb,B\na,C\n", "line 4: 'a' is of patient 'C' here, and of 'A' above"),
        ("slide,patient\na,\n", "line 2: slide and patient must both be given"),
        ("slide,patient\na\n", "line 2: slide and patient must both be given"),
        ("slide;patient\na,A\n", "line 2: slide and patient must both be given"),
        ("slide,patient\na,Smith, John\n", "line 2 has 3 fields, and the first line has 2: .* commas"),
        ('slide,patient\na,"Smith\nb,Jones\n', "not a table as CSV"),
        (b"PK\x03\x04\x00", "is a workbook of a spreadsheet; save its sheet as CSV"),
        ("slide,patient\nä,A\n".encode("utf-16-le"), "not text in UTF-8 or UTF-16"),
        (b"\xff\xfes\x00l", "not text in UTF-8 or UTF-16"),
        (b"slide,patient\na,\x81\n", "not text in UTF-8 or UTF-16"),
    ],
)
def test_bad_table_is_refused_in_words(table, content, message):
    with pytest.raises(PatientsError, match=message):
        read_patients(table(content))


def test_missing_table_is_refused_in_words(tmp_path):
    with pytest.raises(PatientsError, match=r"none\.csv cannot be read: No such file"):
        read_patients(tmp_path / "none.csv")


def test_slide_is_named_by_its_id_its_file_or_its_path(assigned):
    paths = ("p1/a.svs", "p2/b.svs", "p3/c.svs", "p4/d.svs", "p5/e.svs", "p6/f.svs")
    rows = {"p1--a": "1", "b": "2", "c.svs": "3", "p4\\d": "4", "./p5/e.svs": "5", "/study/p6/f.svs": "6"}
    patients, warnings = assigned(rows, *paths)
    assert list(patients.values()) == list("123456")
    assert warnings == []


def test_name_of_several_slides_is_refused(assigned):
    with pytest.raises(Ambiguous) as refused:
        assigned({"slide1": "Smith"}, "p1/slide1.svs", "p2/slide1.svs", "p2/other.svs")
    assert str(refused.value) == (
        "'slide1' in patients.csv may mean any of 2 slides: p1/slide1.svs, p2/slide1.svs. "
        "Write its path there, such as p1/slide1.svs."
    )


def test_name_of_two_kinds_of_file_is_refused_and_the_ending_settles_it(assigned):
    with pytest.raises(Ambiguous, match=r"a\.svs, a\.tif"):
        assigned({"a": "Smith"}, "a.svs", "a.tif")
    assert assigned({"a.svs": "1", "a.tif": "2"}, "a.svs", "a.tif")[0] == {"a.svs": "1", "a.tif": "2"}


def test_path_settles_which_slide_is_meant(assigned):
    patients, _ = assigned({"p1/slide1": "Smith", r"p2\slide1.svs": "Jones"}, "p1/slide1.svs", "p2/slide1.svs")
    assert patients == {"p1--slide1": "Smith", "p2--slide1": "Jones"}


def test_slide_above_others_of_its_name_can_be_named_if_they_are_too(assigned):
    paths = ("slide1.svs", "p1/slide1.svs")
    assert assigned({"slide1": "A", "p1/slide1": "B"}, *paths)[0] == {"slide1": "A", "p1--slide1": "B"}
    with pytest.raises(Ambiguous, match=r"slide1\.svs, p1/slide1\.svs"):
        assigned({"slide1": "A"}, *paths)


@pytest.mark.parametrize("other", ["slide1.svs", "SLIDE1", "p1/slide1", "p1--slide1"])
def test_two_names_of_one_slide_with_two_patients_are_refused(assigned, other):
    with pytest.raises(Ambiguous) as refused:
        assigned({"slide1": "Smith", other: "Jones"}, "p1/slide1.svs")
    expected = f"patients.csv gives slide1.svs to several patients: 'slide1' is of patient 'Smith', '{other}' is of"
    assert str(refused.value).startswith(expected)
    assert assigned({"slide1": "Smith", other: "Smith"}, "p1/slide1.svs")[0] == {"p1--slide1": "Smith"}


def test_names_without_a_slide_and_slides_without_a_name_are_said(assigned):
    patients, warnings = assigned({"slide1": "A", "slied2": "B"}, "slide1.svs", "slide2.svs")
    assert patients == {"slide1": "A"}
    assert warnings == [
        "patients.csv names slides that this batch does not have: 'slied2'.",
        "patients.csv has no patient for slide2.svs.",
    ]


def test_letters_are_the_same_however_they_are_stored_and_case_counts_where_it_must(assigned):
    stored = unicodedata.normalize("NFD", "Müller.svs")
    assert assigned({unicodedata.normalize("NFC", "Müller"): "A"}, stored)[0] == {stored[:-4]: "A"}
    assert assigned({"Slide1.SVS": "A"}, "slide1.svs")[0] == {"slide1": "A"}
    assert assigned({"a": "1", "A": "2"}, "a.svs", "A.svs")[0] == {"a.svs": "1", "A.svs": "2"}
    with pytest.raises(Ambiguous, match=r"a\.svs, A\.svs"):
        assigned({"A.Svs": "1"}, "a.svs", "A.svs")
