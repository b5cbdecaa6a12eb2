"""Two writers, a kill, a full disk, a read-only folder: nothing recorded is lost, and the user reads one sentence."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from kernelwright.archive import Archive
from kernelwright.archive._schema import MIGRATIONS, migrate
from kernelwright.errors import ArchiveBusy, ArchiveError, ArchiveFull, ArchiveTooNew, CacheUnusable, KernelwrightError

from .conftest import ACCEPTED, MACHINE, make_candidate, make_task

Fill = Callable[[Archive, int], list[str]]

WRITER = """
import sys
from pathlib import Path
from kernelwright.archive import Archive
from tests.archive.conftest import ACCEPTED, MACHINE, make_candidate, make_task
path, first, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
archive = Archive(path)
task = archive.record_task(make_task(0))
for number in range(first, first + count):
    digest = archive.record_candidate(task, make_candidate(number, size=20))
    archive.record_verdict(task, digest, MACHINE, ACCEPTED)
    print(digest, flush=True)
"""


def _writer(path: Path, first: int, count: int) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(first), str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'src'}"},
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    return writer


def _assert_holds(path: Path, digests: list[str]) -> None:
    with Archive(path) as archive:
        assert archive.notices == ()
        task = make_task(0).digest
        held = {row.digest for row in archive.candidates(task)}
        judged = {row.candidate for row in archive.verdicts(task)}
        assert set(digests) <= held
        assert set(digests) <= judged
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.close()


def test_two_processes_create_and_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "archive.sqlite"
    writers = [_writer(path, 0, 60), _writer(path, 40, 60)]  # twenty candidates are recorded by both
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    printed = [writer.communicate(timeout=120)[0].split() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    assert [len(digests) for digests in printed] == [60, 60]
    _assert_holds(path, printed[0] + printed[1])
    with Archive(path) as archive:
        assert len(archive.candidates(make_task(0).digest)) == 100


@pytest.mark.parametrize("after", [1, 7, 23])
def test_what_was_recorded_before_a_kill_is_there(tmp_path: Path, after: int) -> None:
    path = tmp_path / "archive.sqlite"
    writer = _writer(path, 0, 100_000)
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write("go\n")
    writer.stdin.flush()
    digests = [writer.stdout.readline().strip() for _ in range(after)]
    writer.kill()
    digests += writer.stdout.read().split()
    assert writer.wait(timeout=60) == -signal.SIGKILL
    _assert_holds(path, digests)


def test_threads_share_an_archive(archive: Archive) -> None:
    task = archive.record_task(make_task(0))

    def work(first: int) -> None:
        for number in range(first, first + 10):
            archive.record_candidate(task, make_candidate(number))

    threads = [threading.Thread(target=work, args=(10 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(archive.candidates(task)) == 40


def test_a_forked_child_opens_its_own_connection(archive: Archive) -> None:
    task = archive.record_task(make_task(0))
    inherited = archive._database._connection

    def work() -> str:
        archive.record_candidate(task, make_candidate(1))
        return str(archive._database._connection is not inherited)

    assert _in_child(work) == "True"
    archive.record_candidate(task, make_candidate(2))
    assert len(archive.candidates(task)) == 2


def test_a_transaction_that_another_writer_overtook_runs_again(archive: Archive) -> None:
    archive.record_machine("first", {})
    overtaking = [sqlite3.connect(archive.path, isolation_level=None)]

    def work(connection: sqlite3.Connection) -> int:
        count = int(connection.execute("SELECT count(*) FROM machines").fetchone()[0])
        if overtaking:  # our snapshot is now out of date, which SQLite reports at once, without waiting
            overtaking[0].execute("INSERT INTO machines VALUES ('other', '{}', 0)")
            overtaking.pop().close()
        connection.execute("INSERT INTO machines VALUES (?, '{}', 0)", (f"after {count}",))
        return count

    assert archive._database.read(work) == 2
    assert archive.machine("after 2") == {}
    assert archive.machine("after 1") is None


def test_a_lock_held_for_ever_is_said(archive: Archive) -> None:
    archive.record_task(make_task(0))
    archive.close()
    archive._database._wait = 0.2
    holder = sqlite3.connect(archive.path, isolation_level=None)
    holder.execute("PRAGMA journal_mode = WAL")
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(ArchiveBusy, match="locked by another process"):
        archive.record_task(make_task(1))
    holder.execute("ROLLBACK")
    archive.record_task(make_task(1))
    assert len(archive.tasks()) == 2


def test_an_interrupt_in_a_transaction_leaves_nothing_behind(archive: Archive) -> None:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO machines VALUES ('half', '{}', 0)")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        archive._database.write(work)
    assert archive.machine("half") is None
    archive.record_machine("whole", {})
    assert archive.machine("whole") == {}


def test_a_full_database_is_one_sentence_and_keeps_what_it_holds(archive: Archive, fill: Fill) -> None:
    digests = fill(archive, 5)
    connection = archive._database._open()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(ArchiveFull, match="disk is full; what it holds is kept") as caught:
        archive.record_candidate(make_task(0).digest, make_candidate(99, size=5000))
    assert "\n" not in str(caught.value)
    connection.execute("PRAGMA max_page_count = 1000000")
    archive.record_candidate(make_task(0).digest, make_candidate(99, size=5000))
    assert [row.digest for row in archive.candidates(make_task(0).digest)][:5] == digests


def _in_child(work: Callable[[], str]) -> str:
    """Run ``work`` in a forked child, whose limits and user it may change; what it returned or raised, as text."""
    reader, sender = multiprocessing.get_context("fork").Pipe(duplex=False)

    def run() -> None:
        try:
            sender.send(work())
        except KernelwrightError as error:
            sender.send(f"{type(error).__name__}: {error}")

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    sender.close()
    try:
        return str(reader.recv())
    finally:
        child.join(timeout=60)


def test_a_full_disk_is_one_sentence_and_keeps_what_it_holds(tmp_path: Path, fill: Fill) -> None:
    path = tmp_path / "archive.sqlite"
    recorded = tmp_path / "recorded.txt"

    def work() -> str:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write past the limit fails as on a full disk
        archive = Archive(path)
        task = archive.record_task(make_task(0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
        for number in range(10_000):
            digest = archive.record_candidate(task, make_candidate(number, size=500))
            archive.record_verdict(task, digest, MACHINE, ACCEPTED)
            with recorded.open("a") as file:
                file.write(digest + "\n")
        return "never full"

    said = _in_child(work)
    assert said.startswith("ArchiveFull: The archive ")
    assert "what it holds is kept" in said
    digests = recorded.read_text().split()
    assert len(digests) > 5
    _assert_holds(path, digests)


@pytest.fixture
def readonly(fill: Fill) -> Callable[[Callable[[Path], str]], str]:
    """Run something as a user who may read a filled archive but not write it (root may write anywhere)."""

    def run(work: Callable[[Path], str]) -> str:
        with tempfile.TemporaryDirectory() as name:  # tmp_path is private to its owner
            folder = Path(name)
            with Archive(folder / "archive.sqlite") as archive:
                fill(archive, 3)
            folder.chmod(0o555)
            (folder / "archive.sqlite").chmod(0o444)

            def child() -> str:
                if os.getuid() == 0:
                    os.setgid(65534)
                    os.setuid(65534)
                return work(folder / "archive.sqlite")

            try:
                return _in_child(child)
            finally:
                folder.chmod(0o755)

    return run


def test_a_readonly_archive_is_read_and_new_results_last_for_the_run(
    readonly: Callable[[Callable[[Path], str]], str],
) -> None:
    def work(path: Path) -> str:
        with Archive(path) as archive:
            archive.record_candidate(make_task(0).digest, make_candidate(77))
            count = len(archive.candidates(make_task(0).digest))
            used = archive.path
            (notice,) = archive.notices
        return f"{count} {used != path} {used.exists()} {notice}"

    said = readonly(work)
    assert said.startswith("4 True False The archive ")
    assert "cannot be written, so new results are kept for this run only" in said


def test_without_fallback_a_readonly_archive_is_an_error(readonly: Callable[[Callable[[Path], str]], str]) -> None:
    said = readonly(lambda path: str(Archive(path, fallback=False)))
    assert said.startswith("CacheUnusable: The archive ")


def test_a_folder_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with caplog.at_level(logging.WARNING), Archive(tmp_path / "file" / "home" / "archive.sqlite") as archive:
        archive.record_task(make_task(0))
        assert len(archive.tasks()) == 1
    assert [record.message for record in caplog.records] == list(archive.notices)
    assert "KERNELWRIGHT_HOME" in archive.notices[0]


def test_no_folder_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
    with pytest.raises(CacheUnusable, match="Neither"):
        Archive(tmp_path / "file" / "home" / "archive.sqlite")


def test_a_removed_archive_is_made_anew(archive: Archive) -> None:
    archive.record_task(make_task(0))
    for file in archive.path.parent.glob("archive.sqlite*"):
        file.unlink()
    archive.record_task(make_task(1))
    with Archive(archive.path) as again:
        assert [row.digest for row in again.tasks()] == [make_task(1).digest]


def test_an_archive_from_a_newer_version(archive: Archive, fill: Fill) -> None:
    fill(archive, 1)
    archive.close()
    connection = sqlite3.connect(archive.path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    before = archive.path.read_bytes()
    with pytest.raises(ArchiveTooNew, match="upgrade kernelwright"):
        Archive(archive.path)
    assert archive.path.read_bytes() == before


def test_somebody_elses_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "photos.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE photos (name)")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(ArchiveError, match="another program's database"):
        Archive(path)
    assert path.read_bytes() == before


def test_a_file_that_never_was_an_archive_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text("It is a truth universally acknowledged\n" * 300)
    with pytest.raises(ArchiveError, match="not a kernelwright archive"):
        Archive(path)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


MORE = (*MIGRATIONS, ("ALTER TABLE winners ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",))


def test_a_migration_keeps_the_rows(archive: Archive, fill: Fill) -> None:
    digests = fill(archive, 2)
    archive.set_winner(make_task(0).digest, "", "float32", "cpu", MACHINE, digests[0])
    archive.close()
    connection = sqlite3.connect(archive.path, isolation_level=None)
    migrate(connection, MORE)
    migrate(connection, MORE)
    assert connection.execute("SELECT candidate, pinned FROM winners").fetchall() == [(digests[0], 0)]
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
    connection.close()


def test_a_file_of_the_first_version_is_brought_up_to_date(archive: Archive, fill: Fill) -> None:
    digests = fill(archive, 2)
    key = (make_task(0).digest, "", "float32", "cpu", MACHINE)
    archive.set_winner(*key, digests[0])
    archive.close()
    connection = sqlite3.connect(archive.path, isolation_level=None)
    for table in ("proofs", "searches"):
        connection.execute(f"DROP TABLE {table}")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    again = Archive(archive.path)
    assert again.search(*key) is None
    winner = again.winner(*key)
    assert winner is not None
    assert winner.candidate == digests[0]
    again.set_winner(*key, digests[1], search={"effort": "quick", "trials": [{"error": float("inf")}]})
    assert again.search(*key) == {"effort": "quick", "trials": [{"error": float("inf")}]}
    again.close()


def test_a_failing_migration_changes_nothing(archive: Archive, fill: Fill) -> None:
    fill(archive, 1)
    archive.close()
    connection = sqlite3.connect(archive.path, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, (*MORE, ("ALTER TABLE nothing ADD COLUMN x",)))
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert "pinned" not in [row[1] for row in connection.execute("PRAGMA table_info(winners)")]
    connection.close()
