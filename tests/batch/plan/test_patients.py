import pytest

from app.batch.plan.patients import PatientsError, patient_of, read_patients


@pytest.fixture
def table(tmp_path):
    def write(content):
        path = tmp_path / "patients.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_patients_are_read_whatever_else_the_table_has(table):
    path = table('\ufeffpatient, slide,age\r\n P 1,a.svs,80\r\n"P, 2",b,\r\n\r\n,,\r\nP 1,a.svs,81\r\n')
    assert read_patients(path) == {"a.svs": "P 1", "b": "P, 2"}


def test_slide_is_found_by_id_then_file_then_name_without_ending():
    patients = {"id": "A", "scan.svs": "B", "scan": "C"}
    assert patient_of(patients, "id", "scan.svs") == "A"
    assert patient_of(patients, "other", "scan.svs") == "B"
    assert patient_of(patients, "other", "scan.tif") == "C"
    assert patient_of(patients, "other", "unknown.tif") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no slide and no patient, found nothing"),
        ("slide;patient\na;b\n", "found slide;patient"),
        ("slide,age\na,80\n", "no patient, found slide, age"),
        ("slide,patient\na,A\nb,B\na,C\n", "line 4: 'a' is of patient 'C' here, and of 'A' above"),
        ("slide,patient\na,\n", "line 2: slide and patient must both be given"),
        ("slide,patient\na\n", "line 2: slide and patient must both be given"),
        ("slide,patient\nä,A\n".encode("latin-1"), "UTF-8"),
    ],
)
def test_bad_table_is_refused_in_words(table, content, message):
    with pytest.raises(PatientsError, match=message):
        read_patients(table(content))


def test_missing_table_is_refused_in_words(tmp_path):
    with pytest.raises(PatientsError, match=r"none\.csv cannot be read: No such file"):
        read_patients(tmp_path / "none.csv")
