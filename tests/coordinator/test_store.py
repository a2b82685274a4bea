"""What was acknowledged is on disk; who writes is alone."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from p2pdo.coordinator.store import MIGRATIONS, Store, Write, open_store
from p2pdo.errors import ConfigError, Conflict, P2pdoError


def put(key: str, value: int = 0) -> Write:
    return lambda db: db.execute("INSERT INTO meta VALUES (?, ?)", (key, value)) and None


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Store]:
    store = await asyncio.to_thread(open_store, folder)
    store.start()
    try:
        yield store
    finally:
        await asyncio.to_thread(store.close)


@pytest.mark.asyncio
async def test_an_acknowledged_write_is_there_for_another_reader_at_once(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.write(put("a"))
        db = sqlite3.connect(tmp_path / "state.sqlite")
        assert db.execute("SELECT value FROM meta WHERE key = 'a'").fetchone() == (0,)
        db.close()


@pytest.mark.asyncio
async def test_acknowledged_writes_survive_reopening_and_starts_are_counted(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        async with opened(tmp_path) as store:
            assert store.epoch == epoch
            await store.write(put(f"start {epoch}"))
    store = open_store(tmp_path)
    kept = store.read(lambda db: db.execute("SELECT key FROM meta").fetchall())
    assert {("start 1",), ("start 2",), ("start 3",)} <= set(kept)
    store.close()


def test_a_state_folder_that_it_makes_is_its_users_alone(tmp_path: Path) -> None:
    open_store(tmp_path / "far" / "state").close()
    assert stat.S_IMODE((tmp_path / "far" / "state").stat().st_mode) == 0o700


@pytest.mark.asyncio
async def test_many_waiting_writes_share_commits(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await asyncio.gather(*(store.write(put(str(i))) for i in range(500)))
        assert store.commits < 50


@pytest.mark.asyncio
async def test_what_one_step_submits_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        store.submit(put("x"))
        store.submit(lambda db: db.execute("INSERT INTO nowhere VALUES (1)") and None)
        with pytest.raises(P2pdoError, match="cannot be written: no such table"):
            await store.settled()
    store = open_store(tmp_path)
    assert store.read(lambda db: db.execute("SELECT * FROM meta WHERE key='x'").fetchall()) == []
    store.close()


@pytest.mark.asyncio
async def test_a_broken_store_takes_nothing_more_and_says_so_once(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    told: list[P2pdoError] = []
    store.start(on_broken=told.append)
    store.submit(lambda db: db.execute("no sql") and None)
    for _ in range(2):
        with pytest.raises(P2pdoError):
            await store.settled()
    with pytest.raises(P2pdoError):
        await store.write(put("y"))
    assert len(told) == 1
    store.close()


@pytest.mark.asyncio
async def test_nothing_waits_when_nothing_is_pending(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.write(put("a"))
        commits = store.commits
        await store.settled()
        assert store.commits == commits


@pytest.mark.asyncio
async def test_closing_commits_what_was_submitted(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        store.submit(put("late"))
    store = open_store(tmp_path)
    assert store.read(lambda db: db.execute("SELECT 1 FROM meta WHERE key='late'").fetchone())
    store.close()


def test_a_second_coordinator_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    first = open_store(tmp_path)
    with pytest.raises(Conflict, match="another coordinator is using"):
        open_store(tmp_path)
    first.close()
    open_store(tmp_path).close()


def test_durability_is_full_and_references_are_checked(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    pragma = {
        name: store.read(lambda db, name=name: db.execute(f"PRAGMA {name}").fetchone()[0])  # type: ignore[misc]
        for name in ("journal_mode", "synchronous", "foreign_keys", "user_version")
    }
    assert pragma == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "user_version": len(MIGRATIONS),
    }
    store.close()


def test_texts_of_an_earlier_version_are_kept(tmp_path: Path) -> None:
    """They stood in the rows of their tasks."""
    with contextlib.closing(sqlite3.connect(tmp_path / "state.sqlite")) as db:
        for statement in ";".join(MIGRATIONS[:3]).split(";"):
            db.execute(statement)
        db.execute("PRAGMA user_version = 3")
        db.execute("INSERT INTO nodes VALUES ('a', 'b', '', '', 0, 'up', 1)")
        db.execute("INSERT INTO workloads VALUES ('w', 'r', '', '', 0, '', 0, '', '', '', 0, 0, 0)")
        for number, (payload, result) in enumerate((("ask", ""), ("", "answer"), ("", ""))):
            values = (f"w-0-{number}", number, payload, "pending", result)
            db.execute(
                "INSERT INTO tasks VALUES (?, 'w', 'a', ?, 'e', 'n', ?, ?, 1, 'd', ?, 0)", values
            )
        db.commit()
    store = open_store(tmp_path)
    found = [
        store.read(lambda db, name=name: db.execute(f"SELECT * FROM {name}").fetchall())  # type: ignore[misc] # noqa: S608
        for name in ("payloads", "results")
    ]
    store.close()
    assert found == [[("w-0-0", "ask")], [("w-0-1", "answer")]]


def test_a_file_in_the_place_of_the_directory_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot use the state directory"):
        open_store(tmp_path / "file")


def test_a_damaged_database_is_told_and_the_directory_is_free_again(tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").write_bytes(b"this is no database, only some text " * 100)
    for _ in range(2):
        with pytest.raises(ConfigError, match="cannot be read: file is not a database"):
            open_store(tmp_path)


def test_a_schema_that_is_not_even_text_is_told(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    database = tmp_path / "state.sqlite"
    database.write_bytes(database.read_bytes().replace(b"TABLE nodes", b"TABLE n\xf6des", 1))
    for _ in range(2):
        with pytest.raises(ConfigError, match="cannot be read"):
            open_store(tmp_path)


def test_a_database_that_was_emptied_is_no_new_one(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    (tmp_path / "state.sqlite").write_bytes(b"")
    open_store(tmp_path).close()  # a crash at the very start leaves no more
    (tmp_path / "workloads").mkdir()
    (tmp_path / "state.sqlite").write_bytes(b"")
    with pytest.raises(ConfigError, match="is empty, and workloads"):
        open_store(tmp_path)


def test_a_disk_that_is_full_at_the_start_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect_where_it_is_full(*where: object, **how: object) -> sqlite3.Connection:
        db = sqlite3.Connection(*where, **how)  # type: ignore[arg-type]
        db.execute("PRAGMA max_page_count = 1")
        return db

    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", connect_where_it_is_full)
        with pytest.raises(ConfigError, match="disk is full") as caught:
            open_store(tmp_path)
    assert "free space" in str(caught.value.hint)
    open_store(tmp_path).close()


def test_a_database_that_another_program_holds_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(tmp_path).close()
    other = sqlite3.connect(tmp_path / "state.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    impatient = partial(sqlite3.connect, timeout=0)
    with monkeypatch.context() as patched:
        patched.setattr(sqlite3, "connect", impatient)
        with pytest.raises(ConfigError, match="is locked") as caught:
            open_store(tmp_path)
    assert "end the other program" in str(caught.value.hint)
    other.close()
    open_store(tmp_path).close()


def test_the_state_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    open_store(tmp_path).close()
    db = sqlite3.connect(tmp_path / "state.sqlite")
    db.execute("PRAGMA user_version = 999")
    db.close()
    with pytest.raises(ConfigError, match="newer version"):
        open_store(tmp_path)
