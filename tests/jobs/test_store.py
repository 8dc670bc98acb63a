from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, text

from app.jobs import store as store_module
from app.jobs.batch import StoreUnavailable
from app.jobs.progress import Failure, Progress
from app.jobs.store import Store
from tests.jobs.orders import new_batch
from tests.waiting import PATIENCE_S

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


@pytest.fixture
def clock(monkeypatch):
    """`clock(seconds)` sets the store's clock to so long after noon."""

    def set_to(seconds):
        monkeypatch.setattr(store_module, "_now", lambda: NOON + timedelta(seconds=seconds))

    set_to(0)
    return set_to


def test_batch_comes_back_as_it_was(store):
    batch = new_batch("Müller/10%*.tif")
    store.add(batch)
    assert store.get(batch.id) == batch
    assert store.get("0" * 32) is None


def test_newest_come_first_and_page_by_page(store):
    batches = [new_batch(created=NOON + timedelta(seconds=i // 2)) for i in range(7)]  # two at each second
    for batch in batches:
        store.add(batch)
    pages, last = [], None
    while page := store.newest(3, last):
        pages += page
        last = page[-1]
    assert sorted(batch.id for batch in pages) == sorted(batch.id for batch in batches)
    assert [batch.created for batch in pages] == sorted((batch.created for batch in batches), reverse=True)


def test_oldest_is_taken_first_and_each_once(store):
    batches = [new_batch(created=NOON - timedelta(seconds=i)) for i in range(6)]
    for batch in batches:
        store.add(batch)
    assert store.claim("me").id == batches[-1].id
    with ThreadPoolExecutor(8) as pool:
        claimed = [batch.id for batch in pool.map(lambda i: store.claim(f"runner{i}"), range(40)) if batch]
    assert len(claimed) == len(set(claimed))
    while found := store.claim("me"):
        claimed.append(found.id)
    assert sorted(claimed) == sorted(batch.id for batch in batches[:-1])


def test_runners_of_postgresql_do_not_wait_for_each_other(postgres_url):
    """A runner skips the batch that another one is about to take, and takes the next."""
    store = Store(postgres_url)
    store_module.metadata.drop_all(store._engine)
    store.create()
    first, second = (new_batch(created=NOON + timedelta(seconds=i)) for i in range(2))
    for batch in (first, second):
        store.add(batch)
    with store._engine.begin() as another:
        another.execute(text("SET LOCAL lock_timeout = '10s'"))
        another.execute(text("SELECT * FROM batches WHERE id = :id FOR UPDATE"), {"id": first.id})
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(store.claim, "me").result(PATIENCE_S).id == second.id
            assert pool.submit(store.claim, "me").result(PATIENCE_S) is None
    assert store.claim("me").id == first.id
    store.close()


def test_batch_of_a_dead_runner_is_taken_and_that_of_a_living_one_is_not(store, clock):
    batch = new_batch()
    store.add(batch)
    assert store.claim("first").started == NOON
    clock(29)
    assert store.claim("second") is None
    assert store.beat(batch.id, "first", None) == "go on"
    clock(58)
    assert store.claim("second") is None
    clock(61)
    taken = store.claim("second")
    assert (taken.id, taken.n_lost, taken.started) == (batch.id, 1, NOON)
    assert store.beat(batch.id, "first", None) == "lost", "the first one was only asleep"
    store.end(batch.id, "first", "failed", "late", None)
    assert store.get(batch.id).state == "running"


def test_progress_and_end_are_kept(store, clock):
    batch = new_batch()
    store.add(batch)
    store.claim("me")
    progress = Progress(slides=3, slides_done=1, slides_failed=1, failures=(Failure(slide="ü", reason="broken"),))
    store.beat(batch.id, "me", progress)
    assert store.get(batch.id).progress == progress
    clock(5)
    store.end(batch.id, "me", "failed", "why", None)
    ended = replace(batch, state="failed", started=NOON, ended=NOON + timedelta(seconds=5), detail="why")
    assert store.get(batch.id) == replace(ended, progress=progress)
    assert store.claim("me") is None


def test_batch_that_is_given_back_is_taken_again(store):
    batch = new_batch()
    store.add(batch)
    store.claim("me")
    store.give_back(batch.id, "me")
    assert store.claim("another").n_lost == 0


def test_cancelling(store):
    waits, runs = new_batch(created=NOON), new_batch()
    for batch in (runs, waits):
        store.add(batch)
    assert store.cancel(waits.id)
    assert store.get(waits.id).state == "cancelled"
    assert store.get(waits.id).ended is not None
    assert store.claim("me").id == runs.id
    assert store.cancel(runs.id)
    assert store.get(runs.id).state == "running", "until its runner has ended it"
    assert store.beat(runs.id, "me", None) == "cancel"
    store.end(runs.id, "me", "cancelled", None, None)
    assert not store.cancel(runs.id)
    assert not store.cancel(waits.id)
    assert not store.cancel("0" * 32)


def test_database_that_cannot_be_used_is_said_without_its_password(caplog):
    for url in ("postgresql://me:secret@127.0.0.1:1/none", "sqlite:////nowhere/at/all.sqlite"):
        with pytest.raises(StoreUnavailable, match="database of the batches cannot be used now"):
            Store(url).create()
    assert "secret" not in caplog.text
    for url in ("nonsense", "oracle+nodriver://here", "mysql://here"):
        with pytest.raises(StoreUnavailable, match="MARROWSCOPE_DATABASE_URL"):
            Store(url)


def test_full_disk_is_said_and_leaves_the_batches_whole(file_store):
    kept = new_batch()
    file_store.add(kept)

    # SQLite says of a database that has reached its limit what it says of a full disk.
    @event.listens_for(file_store._engine, "begin")
    def no_more_pages(connection):
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StoreUnavailable, match="disk of the batches is full"):
        file_store.add(new_batch("x" * 100_000))
    assert file_store.newest(9) == [kept]


def test_table_is_made_once_by_many(url):
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: Store(url).create(), range(6)))
