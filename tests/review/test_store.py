import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from sqlalchemy import event, text

from app.pipeline.errors import InvalidParameter
from app.review import store as store_module
from app.review.candidates import MEASURED, review_of
from app.review.errors import NotInReview, ReviewConflict, ReviewUnavailable
from app.review.names import NamedType
from app.review.reviews import Reviews
from app.review.store import Store, TypeChange
from tests.conftest import REPOSITORY
from tests.processes import ran
from tests.review.seeing import seeing_bundle

SMALL, LARGE = NamedType("Small", "#112233", "myeloid"), NamedType("Large", "#445566", "erythroid")


@pytest.fixture
def reviews(store):
    return Reviews(store)


def set_types(store, *types, **options):
    store.set_types([TypeChange(one) for one in types], **options)


def test_cells_come_back_as_they_were_analysed(reviews, put_in, bundle):
    kept, is_new = put_in(reviews, name="Müller 1")
    review = review_of(bundle)
    assert is_new
    assert reviews.store.tiles(review) == [kept] == [reviews.store.tile(kept.sha256, review)]
    found = reviews.store.candidates(review)
    assert len(found) == kept.n_cells > 10
    assert found.features.shape == found.neighbours.shape == (len(found), 8)
    assert found.measured.shape == (len(found), len(MEASURED))
    crops = reviews.store.crops(found.ids)
    areas = found.measured[:, MEASURED.index("area")]
    covered = [(crops[cell][..., :3] < 255).any(axis=2).sum() for cell in found.ids]
    assert np.corrcoef(areas[~np.isnan(areas)], np.array(covered)[~np.isnan(areas)])[0, 1] > 0.99
    placed = reviews.store.placed(kept.sha256, review.sha256)
    assert [one.id for one in placed] == found.ids
    for one in placed:
        xs, ys = np.array(one.outline[0]).T
        assert xs.min() <= one.centroid[0] + 0.5 <= xs.max()
        assert ys.min() <= one.centroid[1] + 0.5 <= ys.max()


def test_same_tile_again_changes_nothing(reviews, put_in, bundle):
    first, _ = put_in(reviews, name="first")
    before = reviews.store.revision()
    again, is_new = put_in(reviews, name="second")
    assert (again, is_new) == (first, False)
    assert reviews.store.revision().names == before.names
    assert len(reviews.store.candidates(review_of(bundle))) == first.n_cells


def test_cells_of_another_version_of_the_bundle_are_kept_apart(reviews, put_in, bundle, manifest_values):
    first, _ = put_in(reviews)
    other = seeing_bundle(manifest_values, "b" * 64)
    second, is_new = put_in(reviews, used=other)
    assert is_new
    mine, theirs = (set(reviews.store.candidates(review_of(one)).ids) for one in (bundle, other))
    assert len(mine) == first.n_cells
    assert len(theirs) == second.n_cells
    assert not mine & theirs


def test_names_are_kept_changed_and_taken_back(reviews, put_in, bundle):
    put_in(reviews)
    store, review = reviews.store, review_of(bundle)
    set_types(store, SMALL, LARGE)
    one, two, *_ = store.candidates(review).ids
    assert store.set_names({one: "Small", two: "Large"}, "Ann", review) == 2
    assert store.set_names({one: "Small", two: "Small"}, "Ann", review) == 1
    assert store.set_names({one: "Large"}, "Bo", review) == 1
    assert {(name.cell, name.reviewer, name.type) for name in store.names(review)} == {
        (one, "Ann", "Small"),
        (two, "Ann", "Small"),
        (one, "Bo", "Large"),
    }
    assert store.set_names({one: None, two: None}, "Ann", review) == 2
    assert store.set_names({one: None}, "Ann", review) == 0
    assert [(name.reviewer, name.type) for name in store.names(review)] == [("Bo", "Large")]


def test_a_wrong_name_among_right_ones_leaves_all_as_it_was(reviews, put_in, bundle, manifest_values):
    put_in(reviews)
    store, review = reviews.store, review_of(bundle)
    set_types(store, SMALL)
    one, two, *_ = store.candidates(review).ids
    store.set_names({one: "Small"}, "Ann", review)
    before = store.names(review)
    with pytest.raises(InvalidParameter, match="no cell type 'Odd'; the types are 'Small'"):
        store.set_names({one: None, two: "Odd"}, "Ann", review)
    with pytest.raises(InvalidParameter, match="1 of the 2 cells are not in the review"):
        store.set_names({one: None, "0" * 32: "Small"}, "Ann", review)
    other = review_of(seeing_bundle(manifest_values, "b" * 64))
    with pytest.raises(ReviewConflict, match="the bundle may have changed since"):
        store.set_names({one: None}, "Ann", other)
    assert store.names(review) == before


def test_types_that_name_cells_stay_unless_their_names_may_go(reviews, put_in, bundle):
    put_in(reviews)
    store, review = reviews.store, review_of(bundle)
    set_types(store, SMALL, LARGE)
    one, two, *_ = store.candidates(review).ids
    store.set_names({one: "Small", two: "Large"}, "Ann", review)
    with pytest.raises(ReviewConflict, match=r"'Small' \(1\)"):
        set_types(store, LARGE)
    assert store.types() == [SMALL, LARGE]
    set_types(store, LARGE, SMALL)
    assert store.types() == [LARGE, SMALL]
    set_types(store, LARGE, delete_names=True)
    assert [(name.cell, name.type) for name in store.names(review)] == [(two, "Large")]


def test_renamed_types_keep_their_cells_even_when_they_swap_names(reviews, put_in, bundle):
    put_in(reviews)
    store, review = reviews.store, review_of(bundle)
    set_types(store, SMALL, LARGE)
    one, two, *_ = store.candidates(review).ids
    store.set_names({one: "Small", two: "Large"}, "Ann", review)
    store.set_types([TypeChange(LARGE, was="Small"), TypeChange(SMALL, was="Large")])
    assert {name.cell: name.type for name in store.names(review)} == {one: "Large", two: "Small"}
    store.set_types([TypeChange(NamedType("Tiny", "#000000"), was="Small"), TypeChange(LARGE), TypeChange(SMALL)])
    assert {name.cell: name.type for name in store.names(review)} == {one: "Large", two: "Tiny"}
    with pytest.raises(InvalidParameter, match="no cell type 'None of them'"):
        store.set_types([TypeChange(SMALL, was="None of them")])
    with pytest.raises(InvalidParameter, match="more than once"):
        set_types(store, SMALL, replace(LARGE, name="SMALL"))


def test_deleting_a_tile_or_a_reviewer_deletes_their_names_alone(reviews, put_in, bundle):
    store, review = reviews.store, review_of(bundle)
    first, _ = put_in(reviews, 0)
    second, _ = put_in(reviews, 1)
    set_types(store, SMALL)
    cells = store.candidates(review)
    of_first, of_second = (
        next(c for c, t in zip(cells.ids, cells.tiles, strict=True) if t == tile.sha256) for tile in (first, second)
    )
    store.set_names({of_first: "Small", of_second: "Small"}, "Ann", review)
    store.set_names({of_second: "Small"}, "Bo", review)
    assert store.delete_tile(first.sha256) == (first.n_cells, 1)
    assert store.tiles() == [second]
    assert {(name.cell, name.reviewer) for name in store.names(review)} == {(of_second, "Ann"), (of_second, "Bo")}
    assert store.delete_reviewer("Bo") == 1
    assert {name.reviewer for name in store.names(review)} == {"Ann"}
    for gone in (lambda: store.delete_tile(first.sha256), lambda: store.delete_reviewer("Bo")):
        with pytest.raises(NotInReview):
            gone()


def test_reviewers_write_at_once_and_none_loses_a_name(reviews, put_in, bundle):
    put_in(reviews)
    store, review = reviews.store, review_of(bundle)
    set_types(store, SMALL)
    cells = store.candidates(review).ids[:10]
    with ThreadPoolExecutor(8) as pool:
        jobs = [(cell, reviewer) for cell in cells for reviewer in ("Ann", "Bo", "Cy", "Di")]
        list(pool.map(lambda job: store.set_names({job[0]: "Small"}, job[1], review), jobs))
    assert len(store.names(review)) == len(jobs)


def test_reviewers_bring_types_at_once_and_none_is_lost(reviews, put_in, bundle):
    put_in(reviews)
    store, review, now = reviews.store, review_of(bundle), datetime.now(UTC)
    set_types(store, SMALL)
    cells = store.candidates(review).ids[:10]
    jobs = [(cell, f"Type {i} of {reviewer}", reviewer) for i, cell in enumerate(cells) for reviewer in ("Ann", "Bo")]

    def bring(job):
        cell, kind, reviewer = job
        return store.put_names([(cell, reviewer, kind, now)], review, {kind: None, "Small": "#000000"})

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(bring, jobs)) == [1] * len(jobs)
    types = store.types()
    assert {one.name for one in types} == {"Small", *(kind for _, kind, _ in jobs)}
    assert types[0] == SMALL, "a type that is there stays as it is"
    assert len(store.names(review)) == len(jobs)


def test_types_that_names_bring_are_kept_with_them_or_not_at_all(reviews, put_in, bundle):
    put_in(reviews)
    store, review, now = reviews.store, review_of(bundle), datetime.now(UTC)
    set_types(store, SMALL)
    with pytest.raises(InvalidParameter, match="not in the review"):
        store.put_names([("f" * 32, "Ann", "Odd", now)], review, {"Odd": None})
    with pytest.raises(InvalidParameter, match="name of its own, found 'Small' more than once"):
        store.put_names([(store.candidates(review).ids[0], "Ann", "small", now)], review, {"small": None})
    assert store.types() == [SMALL]


def test_tables_are_made_once_by_many(url):
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: Store(url).create(), range(6)))
    assert Store(url).revision() == Store(url).revision()


def test_full_disk_leaves_the_store_whole(file_reviews, put_in, bundle):
    store, review = file_reviews.store, review_of(bundle)
    kept, _ = put_in(file_reviews, 0)
    set_types(store, SMALL)
    cells = store.candidates(review).ids
    store.set_names({cells[0]: "Small"}, "Ann", review)
    # SQLite says of a database that has reached its limit what it says of a full disk.
    limit = event.listens_for(store._engine, "begin")
    pages = []

    @limit
    def no_more_pages(connection):
        pages.append(connection.exec_driver_sql("PRAGMA page_count").scalar())
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages[-1]}")

    with pytest.raises(ReviewUnavailable, match="disk of the review is full"):
        put_in(file_reviews, 1)
    assert store.tiles() == [kept]
    assert [name.cell for name in store.names(review)] == [cells[0]]
    with store._engine.connect() as connection:
        assert connection.execute(text("PRAGMA integrity_check")).scalar() == "ok"


def test_killed_process_leaves_what_it_has_answered(tmp_path):
    url = f"sqlite:///{tmp_path / 'reviews.sqlite'}"
    code = f"""
        import os, signal
        from app.review.names import NamedType
        from app.review.store import Store, TypeChange
        store = Store({url!r})
        store.create()
        store.set_types([TypeChange(NamedType("Small", "#112233"))])
        with store._changing("names") as connection:
            connection.exec_driver_sql("DELETE FROM review_types")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = ran([sys.executable, "-c", textwrap.dedent(code)], cwd=REPOSITORY)
    assert done.returncode == -9
    assert [one.name for one in Store(url).types()] == ["Small"]


def test_review_has_room_for_so_many_cells(reviews, put_in, monkeypatch):
    kept, _ = put_in(reviews, 0)
    monkeypatch.setattr(store_module, "MAX_CELLS", kept.n_cells + 1)
    with pytest.raises(InvalidParameter, match=f"it has {kept.n_cells}"):
        put_in(reviews, 1)
    assert reviews.store.tiles() == [kept]


def test_database_that_cannot_be_used_is_said_without_its_password(caplog):
    with pytest.raises(ReviewUnavailable, match="cannot be used now"):
        Store("postgresql://me:secret@127.0.0.1:1/none").create()
    assert "secret" not in caplog.text
    with pytest.raises(ReviewUnavailable, match="MARROWSCOPE_DATABASE_URL"):
        Store("nonsense")
