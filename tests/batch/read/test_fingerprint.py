import hashlib

import pytest

from app.batch.read import fingerprint as module
from app.batch.read.fingerprint import fingerprint
from tests.batch.read.dicom import write_dicom
from tests.batch.read.drawn_slides import drawn_pixels, halves


def test_of_a_small_file_it_is_its_sha256(tmp_path):
    path = tmp_path / "tile.png"
    path.write_bytes(b"abc" * 1_000_000)
    found = fingerprint(path)
    assert (found.n_bytes, found.sha256) == (3_000_000, hashlib.sha256(b"abc" * 1_000_000).hexdigest())


def test_of_a_large_file_the_ends_the_size_and_pieces_between_are_read(tmp_path):
    path = tmp_path / "slide.svs"
    with path.open("wb") as file:
        file.truncate(module.WHOLE_BYTES + 1)
    first = fingerprint(path)
    assert first.n_bytes == module.WHOLE_BYTES + 1
    # Between the ends, no stretch of a MiB is without a piece that is read: their distance is 62 / 65 MiB.
    for place, n_bytes in ((0, 1), (2**20 - 1, 1), (2**25, 2**20), (2**26 - 2**21, 2**20), (module.WHOLE_BYTES, 1)):
        with path.open("r+b") as file:
            file.seek(place)
            file.write(b"x" * n_bytes)
            file.flush()
            assert fingerprint(path) != first, place
            file.seek(place)
            file.write(b"\0" * n_bytes)
    assert fingerprint(path) == first
    with path.open("r+b") as file:
        file.truncate(module.WHOLE_BYTES + 2)
    assert fingerprint(path).sha256 != first.sha256


def test_of_a_folder_it_is_that_of_all_files_and_not_of_where_it_lies(tmp_path):
    folders = [tmp_path / "a" / "slide", tmp_path / "b" / "slide"]
    for folder in folders:
        folder.mkdir(parents=True)
        for i, level in enumerate(halves(drawn_pixels(200, 200), 2)):
            write_dicom(folder / f"{i}.dcm", level, instance=i + 1)
    first, second = map(fingerprint, folders)
    assert first == second
    assert first.n_bytes == sum(path.stat().st_size for path in folders[0].iterdir())
    (folders[1] / "0.dcm").write_bytes(b"another")
    assert fingerprint(folders[1]) != first


def test_of_an_mrxs_the_folder_beside_it_counts(tmp_path):
    index, beside = tmp_path / "slide.mrxs", tmp_path / "slide"
    index.write_bytes(b"index")
    alone = fingerprint(index)
    assert alone.sha256 == hashlib.sha256(b"index").hexdigest()
    beside.mkdir()
    (beside / "Data0000.dat").write_bytes(b"pixels")
    with_data = fingerprint(index)
    assert with_data.n_bytes == 11
    (beside / "Data0000.dat").write_bytes(b"PIXELS")
    assert len({alone.sha256, with_data.sha256, fingerprint(index).sha256}) == 3


def test_a_missing_file_has_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        fingerprint(tmp_path / "slide.svs")
