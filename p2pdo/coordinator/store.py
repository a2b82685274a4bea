"""The durable state: SQLite behind one writer thread.

What must survive kill -9 and power loss is in one database: nodes, workloads, tasks, and the
request ids that make a repeated request harmless. Rows only; this file knows no rule.

*Nothing leaves before it is durable.* The coordinator changes its memory and hands the writes
over with `submit`, in the same order, without waiting; whatever it then tells anybody waits for
`settled()`. What one step of the event loop submits lands in one transaction, whole or not at
all; and all steps that queue up while one commit is being synced share the next one, so a
thousand reports a second cost a few dozen syncs. The disk is always a prefix of what memory went
through.

A write that fails (disk full, broken file) leaves memory ahead of disk, and no later write may
land: the store is broken for good, `settled` raises, and the daemon ends.

One coordinator per state directory: an exclusive lock on STATE/lock, held by the system for the
process, so a crash frees it. `epoch` counts the starts.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from p2pdo.errors import ConfigError, P2pdoError
from p2pdo.runtime.batches import Batches
from p2pdo.storage.drafts import sync
from p2pdo.storage.ownership import own
from p2pdo.transports.host import THIS_HOST, Host

T = TypeVar("T")
Write = Callable[[sqlite3.Connection], None]

_RESTORE = "restore it from a backup, or choose another directory: --state DIR"

MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
    CREATE TABLE nodes (
        name TEXT PRIMARY KEY,
        boot_id TEXT NOT NULL,
        address TEXT NOT NULL,
        version TEXT NOT NULL,
        return_states INTEGER NOT NULL,
        state TEXT NOT NULL,
        joined INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE workloads (
        id TEXT PRIMARY KEY,
        request_id TEXT NOT NULL UNIQUE,
        spec TEXT NOT NULL,
        members TEXT NOT NULL,
        created REAL NOT NULL,
        status TEXT NOT NULL,
        is_closed INTEGER NOT NULL,
        error TEXT NOT NULL,
        resolved TEXT NOT NULL,
        progress TEXT NOT NULL,
        ended INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE tasks (
        id TEXT PRIMARY KEY,
        workload TEXT NOT NULL REFERENCES workloads (id),
        node TEXT NOT NULL REFERENCES nodes (name),
        number INTEGER NOT NULL,
        executor TEXT NOT NULL,
        name TEXT NOT NULL,
        payload TEXT NOT NULL,
        state TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        digest TEXT NOT NULL,
        result TEXT NOT NULL,
        recorded INTEGER NOT NULL,
        UNIQUE (workload, node, number)
    ) STRICT;
    CREATE TABLE sends (
        workload TEXT NOT NULL REFERENCES workloads (id),
        request_id TEXT NOT NULL,
        task_ids TEXT NOT NULL,
        PRIMARY KEY (workload, request_id)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    ALTER TABLE workloads ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
    """,
    """
    ALTER TABLE workloads ADD COLUMN acknowledged INTEGER NOT NULL DEFAULT 0;
    """,
    """
    CREATE TABLE payloads (task TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT;
    CREATE TABLE results (task TEXT PRIMARY KEY, text TEXT NOT NULL) STRICT;
    INSERT INTO payloads SELECT id, payload FROM tasks WHERE payload != '';
    INSERT INTO results SELECT id, result FROM tasks WHERE result != '';
    ALTER TABLE tasks DROP COLUMN payload;
    ALTER TABLE tasks DROP COLUMN result;
    """,
)
"""One script per schema version. Never edit one that was released: append."""


@dataclass(slots=True)
class _Job:
    writes: list[Write]  # empty: only wait for what is before it
    done: asyncio.Future[Any] | None
    query: Callable[[sqlite3.Connection], Any] = lambda _connection: None


class Store:
    """An open state directory. Made by `open_store`; close it with `close`."""

    def __init__(
        self, folder: Path, lock: IO[bytes], connection: sqlite3.Connection, host: Host
    ) -> None:
        self.folder = folder
        self.epoch = 0
        self.commits = 0
        self.broken: P2pdoError | None = None
        self._lock = lock
        self._connection = connection
        self._jobs: Batches[_Job] = host.batches("store", self._work)
        self._unit: list[Write] = []  # what the present step of the loop has submitted
        self._submitted = 0
        self._durable = 0  # Invariant: the first `_durable` submitted writes are committed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._on_broken: Callable[[P2pdoError], None] = lambda _error: None

    def start(self, on_broken: Callable[[P2pdoError], None] | None = None) -> None:
        """Starts the writer for the running loop; `on_broken` is called at most once, on it."""
        self._loop = asyncio.get_running_loop()
        if on_broken is not None:
            self._on_broken = on_broken
        self._jobs.start()

    def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Reads on the caller's thread. Only before `start`."""
        assert self._loop is None, "the connection belongs to the writer now"
        return query(self._connection)

    def submit(self, write: Write) -> None:
        """Queues a write behind all earlier ones; returns at once."""
        if not self._unit:
            assert self._loop is not None, "submit before start"
            self._loop.call_soon(self._flush)
        self._submitted += 1
        self._unit.append(write)

    def _flush(self) -> None:
        if self._unit:
            self._jobs.put(_Job(self._unit, None))
            self._unit = []

    async def settled(self) -> None:
        """Waits until everything submitted so far is on disk.

        Raises:
            P2pdoError: it will never be, because the store is broken.
        """
        if self.broken is not None:
            raise self.broken
        if self._durable == self._submitted:
            return
        self._flush()
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job([], done))
        await done

    async def query(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Reads on the writer's thread, behind everything submitted so far.

        Raises:
            P2pdoError: the store is broken.
        """
        if self.broken is not None:
            raise self.broken
        self._flush()
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put(_Job([], done, query))
        return await done

    async def write(self, write: Write) -> None:
        """Returns when the write is on disk."""
        self.submit(write)
        await self.settled()

    def close(self) -> None:
        """Commits what is queued, then gives the directory free. Blocks for that commit."""
        if self._loop is not None:
            self._flush()
        self._jobs.close()
        self._connection.close()
        self._lock.close()

    def _work(self, jobs: list[_Job]) -> None:
        """Commits and answers a batch, on the writer's thread."""
        writes = [write for job in jobs for write in job.writes]
        error = self._commit(writes)
        answers, error = self._answer(jobs, error)
        self._call(self._settle, jobs, answers, len(writes), error)

    def _commit(self, writes: list[Write]) -> P2pdoError | None:
        if self.broken is not None or not writes:
            return self.broken
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            for write in writes:
                write(self._connection)
            self._connection.execute("COMMIT")
        except (sqlite3.Error, ValueError, OverflowError) as error:  # the latter: unstorable values
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            return self._break(f"cannot be written: {error}")
        self.commits += 1
        return None

    def _answer(
        self, jobs: Sequence[_Job], error: P2pdoError | None
    ) -> tuple[list[Any], P2pdoError | None]:
        """What the jobs' queries find; behind all of the jobs' writes."""
        try:
            return [None if error else job.query(self._connection) for job in jobs], error
        except sqlite3.Error as unreadable:
            return [None] * len(jobs), self._break(f"cannot be read: {unreadable}")

    def _break(self, how: str) -> P2pdoError:
        self.broken = P2pdoError(
            f"the state in {self.folder} {how}",
            hint="free space on that disk or repair it, then start the coordinator again",
        )
        self._call(self._on_broken, self.broken)
        return self.broken

    def _call(self, function: Callable[..., None], *args: object) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody waits any more
            self._loop.call_soon_threadsafe(function, *args)

    def _settle(
        self, jobs: list[_Job], answers: list[Any], writes: int, error: P2pdoError | None
    ) -> None:
        if error is None:
            self._durable += writes
        for job, answer in zip(jobs, answers, strict=True):
            if job.done is None or job.done.done():  # done: its caller was cancelled
                continue
            if error is None:
                job.done.set_result(answer)
            else:
                job.done.set_exception(error)


def open_store(folder: Path, host: Host = THIS_HOST) -> Store:
    """Opens a state directory, makes it if need be, and counts one more start.

    Raises:
        Conflict: another coordinator has it open.
        ConfigError: it cannot be used, or is damaged, or was written by a newer version.
    """
    lock = own(
        folder / "lock",
        owner="coordinator",
        place="the state directory",
        if_taken="stop it first, or choose another directory: --state DIR",
        if_unwritable="choose a directory that you may write to: --state DIR",
    )
    try:
        return _open_database(folder, lock, host)
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter: of SQLite's own words
        lock.close()
        raise ConfigError(
            f"the state in {folder} cannot be read: {error}", hint=_remedy(error)
        ) from None
    except BaseException:
        lock.close()
        raise


@contextlib.contextmanager
def telling_damage(folder: Path) -> Iterator[None]:
    """For who reads rows: one that makes no sense is damage, though SQLite cannot know.

    Raises:
        ConfigError: in place of what a torn row has raised.
    """
    try:
        yield
    except P2pdoError as error:  # an algorithm of a package that is gone, or a damaged name
        raise ConfigError(
            f"the state in {folder} cannot be taken up: {error.message}",
            hint=f"install again what has been here, or {_RESTORE}",
        ) from error
    except (LookupError, TypeError, ValueError, sqlite3.Error) as error:
        raise _damaged(folder, f"{type(error).__name__}: {error}") from error


def _damaged(folder: Path, what: str) -> ConfigError:
    return ConfigError(f"the state in {folder} is damaged: {what}", hint=_RESTORE)


def _remedy(error: Exception) -> str:
    match getattr(error, "sqlite_errorcode", None):
        case sqlite3.SQLITE_FULL:
            return "nothing is lost: free space on that disk, then start the coordinator again"
        case sqlite3.SQLITE_BUSY:
            return "end the other program that has it open, then start the coordinator again"
        case _:
            return _RESTORE


def _open_database(folder: Path, lock: IO[bytes], host: Host) -> Store:
    _refuse_emptied(folder)
    connection = sqlite3.connect(
        folder / "state.sqlite", isolation_level=None, check_same_thread=False
    )
    try:
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")
        _check(connection, folder)
        _migrate(connection, folder)
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "INSERT INTO meta VALUES ('epoch', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1"
        )
        connection.execute("COMMIT")
        store = Store(folder, lock, connection, host)
        (store.epoch,) = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
    except BaseException:
        connection.close()
        raise
    sync(folder)  # the names of new files
    return store


def _refuse_emptied(folder: Path) -> None:
    """SQLite takes an empty file for a new database; beside a workload's files it was none."""
    database, log = folder / "state.sqlite", folder / "state.sqlite-wal"
    is_emptied = database.exists() and database.stat().st_size <= 1
    if is_emptied and not log.exists() and (folder / "workloads").exists():
        raise _damaged(folder, "state.sqlite is empty, and workloads have been here")


def _check(connection: sqlite3.Connection, folder: Path) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _damaged(folder, verdict)


def _migrate(connection: sqlite3.Connection, folder: Path) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise ConfigError(
            f"the state in {folder} was written by a newer version of p2pdo",
            hint="start that version, or choose another directory: --state DIR",
        )
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.execute("BEGIN IMMEDIATE")
        for statement in script.split(";"):
            if statement.strip():
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {number}")
        connection.execute("COMMIT")
