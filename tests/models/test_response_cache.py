import logging
import multiprocessing
import os
import resource
import signal
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tiltyard.models import response_cache
from tiltyard.models.response_cache import Entry, ResponseCache, cache_folder, response_folder

NOBODY = 65534


@pytest.fixture
def open_cache(tmp_path):
    """Opens the cache of one folder, any number of times; all are closed at the end."""
    opened = []

    def open_with(size_limit_mb=100, folder=tmp_path / "responses"):
        opened.append(ResponseCache(folder, size_limit_mb))
        return opened[-1]

    yield open_with
    for cache in opened:
        cache.close()


def key(number):
    return b"%032d" % number


def size(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


def test_what_was_kept_is_found_by_everyone(open_cache):
    cache = open_cache()
    assert cache.get(key(1)) is None
    entry = Entry(b'{"text": "\xc3\xa4"}', 812.5, stored=1.7e9)
    cache.put(key(1), entry)

    assert cache.get(key(1)) == entry
    assert open_cache().get(key(1)) == entry
    assert open_cache().get(key(2)) is None
    cache.put(key(1), Entry(b"another", 3.0))
    assert open_cache().get(key(1)).body == b"another"


def test_it_opens_again_after_it_was_closed(open_cache):
    cache = open_cache()
    cache.put(key(1), Entry(b"one", 1.0))
    cache.close()
    cache.close()
    assert cache.get(key(1)).body == b"one"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=9000)), max_size=30))
def test_while_there_is_room_it_is_a_dictionary(writes):
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(ResponseCache(Path(folder), 100)) as cache,
    ):
        for number, body in writes:
            cache.put(key(number), Entry(body, 1.0))
        kept = {number: found.body for number in range(10) if (found := cache.get(key(number)))}
        assert kept == dict(writes)
        assert cache.contents().entries == len(kept)


def write_and_read(folder, start, finished, worker):
    """What each of several processes does at once: write its own entries and one that all write."""
    with closing(ResponseCache(folder, 100)) as cache:
        start.wait(timeout=60)
        for number in range(50):
            cache.put(key(1000 * worker + number), Entry(b"%d" % worker * 500, float(worker)))
            cache.put(key(999_999), Entry(b"%d" % worker * 500, float(worker)))
            shared = cache.get(key(999_999))
            assert shared is not None
            assert (
                shared.body == b"%d" % int(shared.latency_ms) * 500
            )  # never half of one and half of another
        finished.put(worker)


def test_processes_that_start_together_share_it(tmp_path, open_cache):
    spawn = multiprocessing.get_context("spawn")
    start, finished = spawn.Barrier(4), spawn.Queue()
    folder = tmp_path / "responses"
    workers = [
        spawn.Process(target=write_and_read, args=(folder, start, finished, number)) for number in range(1, 5)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    cache = open_cache()
    assert cache.contents().entries == 201
    for number in range(1, 5):
        assert {cache.get(key(1000 * number + n)).body for n in range(50)} == {b"%d" % number * 500}


def test_threads_share_one(open_cache):
    cache = open_cache()

    def work(worker):
        for number in range(50):
            cache.put(key(100 * worker + number), Entry(b"%d" % worker, 1.0))
            assert cache.get(key(100 * worker + number)).body == b"%d" % worker

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cache.contents().entries == 400


def test_the_limit_holds_and_what_is_used_stays(open_cache, tmp_path):
    cache = open_cache(size_limit_mb=2)
    largest = 0
    for number in range(2000):
        cache.put(key(number), Entry(os.urandom(100 + number % 6000), 1.0))
        assert cache.get(key(0)) is not None, number
        if number % 50 == 0:
            largest = max(largest, size(tmp_path / "responses"))
    assert 1_000_000 < largest <= 2_000_000
    assert cache.get(key(1999)) is not None
    assert cache.get(key(1)) is None
    assert cache.contents().entries > 200


def test_several_at_the_limit_hold_it_together(open_cache, tmp_path):
    caches = [open_cache(size_limit_mb=1) for _ in range(3)]
    for number in range(900):
        caches[number % 3].put(key(number), Entry(os.urandom(3000), 1.0))
    assert size(tmp_path / "responses") <= 1_000_000
    assert all(cache.get(key(899)) for cache in caches)


def test_a_lower_limit_makes_the_file_smaller(open_cache, tmp_path):
    with closing(open_cache(size_limit_mb=100)) as large:
        for number in range(1000):
            large.put(key(number), Entry(os.urandom(4000), 1.0))
    assert size(tmp_path / "responses") > 4_000_000
    open_cache(size_limit_mb=1).put(key(1000), Entry(b"one more", 1.0))
    assert size(tmp_path / "responses") <= 1_000_000


def test_what_is_larger_than_the_limit_is_not_kept_and_drives_nothing_out(open_cache):
    cache = open_cache(size_limit_mb=1)
    cache.put(key(1), Entry(b"small", 1.0))
    cache.put(key(2), Entry(bytes(1_100_000), 1.0))
    assert cache.get(key(2)) is None
    assert cache.get(key(1)) is not None


def test_a_hit_takes_far_less_than_a_millisecond(open_cache):
    cache = open_cache()
    for number in range(500):
        cache.put(key(number), Entry(os.urandom(2000), 1.0))
    times = []
    for number in range(500):
        start = time.perf_counter()
        cache.get(key(number))
        times.append(time.perf_counter() - start)
    assert median(times) < 0.0005


def test_a_file_that_is_no_database_is_one_warning_and_can_be_cleared(open_cache, caplog):
    cache = open_cache()
    cache.path.parent.mkdir(parents=True)
    cache.path.write_bytes(b"not a database" * 1000)
    for number in range(3):
        cache.put(key(number), Entry(b"lost", 1.0))
        assert cache.get(key(number)) is None
    [warning] = caplog.messages
    assert str(cache.path.parent) in warning
    cache.clear()
    cache.put(key(1), Entry(b"kept", 1.0))
    assert cache.get(key(1)).body == b"kept"


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_a_damaged_file_never_raises(open_cache, place, caplog):
    with closing(open_cache()) as cache:
        for number in range(300):
            cache.put(key(number), Entry(os.urandom(3000), 1.0))
    content = bytearray(cache.path.read_bytes())
    at = int(place * len(content)) // 4096 * 4096
    content[at : at + 5 * 4096] = os.urandom(5 * 4096)
    cache.path.write_bytes(content)
    damaged = open_cache()
    for number in range(600):
        damaged.get(key(number))
        damaged.put(key(number), Entry(b"again", 1.0))
    damaged.close()
    assert len(caplog.messages) <= 1


@pytest.mark.parametrize("foreign", [("'text'", 1.0), ("x'00'", "'soon'"), ("7", 1.0)])
def test_a_foreign_entry_is_a_miss(open_cache, foreign):
    cache = open_cache()
    cache.put(key(1), Entry(b"one", 1.0))
    body, latency = foreign
    with closing(sqlite3.connect(cache.path)) as other, other:
        other.execute(f"UPDATE responses SET body = {body}, latency_ms = {latency}")
    assert cache.get(key(1)) is None
    cache.put(key(1), Entry(b"one", 1.0))
    assert cache.get(key(1)).body == b"one"


def test_a_file_of_another_version_is_left_alone(open_cache, caplog):
    with closing(open_cache()) as cache:
        cache.put(key(1), Entry(b"one", 1.0))
    with closing(sqlite3.connect(cache.path)) as other:
        other.execute("PRAGMA user_version = 99")
    newer = open_cache()
    assert newer.get(key(1)) is None
    newer.put(key(2), Entry(b"two", 1.0))
    [warning] = caplog.messages
    assert "another version" in warning


def test_a_folder_that_cannot_be_made_is_one_warning(open_cache, tmp_path, caplog):
    (tmp_path / "file").touch()
    cache = open_cache(folder=tmp_path / "file" / "responses")
    cache.put(key(1), Entry(b"one", 1.0))
    assert cache.get(key(1)) is None
    assert len(caplog.messages) == 1


def count_warnings(action, answer):
    """Run an action in this process; say how many warnings the cache gave."""
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    logging.getLogger(response_cache.__name__).addHandler(handler)
    found = action()
    answer.put((found, len(records)))


def use_read_only(folder):
    if os.getuid() == 0:
        os.setgid(NOBODY)
        os.setuid(NOBODY)
    cache = ResponseCache(folder, 100)
    cache.put(key(2), Entry(b"two", 1.0))
    return cache.get(key(2)) is not None


def read_only(folder, answer):
    count_warnings(lambda: use_read_only(folder), answer)


def use_full(folder):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    cache = ResponseCache(folder, 100)
    for number in range(200):
        cache.put(key(number), Entry(os.urandom(3000), 1.0))
    return cache.get(key(199)) is not None


def full(folder, answer):
    count_warnings(lambda: use_full(folder), answer)


@pytest.mark.parametrize("trouble", [read_only, full])
def test_a_disk_that_cannot_be_written_is_one_warning_and_no_cache(trouble):
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "responses"
        with closing(ResponseCache(folder, 100)) as cache:
            cache.put(key(1), Entry(b"one", 1.0))
        if trouble is read_only:
            for path in (Path(place), folder, *folder.iterdir()):
                path.chmod(0o555 if path.is_dir() else 0o444)
        spawn = multiprocessing.get_context("spawn")
        answer = spawn.Queue()
        worker = spawn.Process(target=trouble, args=(folder, answer))
        worker.start()
        assert answer.get(timeout=60) == (False, 1)
        worker.join()
        for path in (Path(place), folder):
            path.chmod(0o755)


def test_a_busy_file_costs_an_entry_and_no_more(open_cache, monkeypatch, caplog):
    monkeypatch.setattr(response_cache, "_BUSY_TIMEOUT_S", 0.05)
    cache = open_cache()
    cache.put(key(1), Entry(b"one", 1.0))
    with closing(sqlite3.connect(cache.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        cache.put(key(2), Entry(b"two", 1.0))
        assert cache.get(key(1)).body == b"one"
        other.execute("ROLLBACK")
    assert cache.get(key(2)) is None
    cache.put(key(2), Entry(b"two", 1.0))
    assert cache.get(key(2)).body == b"two"
    assert caplog.messages == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_a_connection_of_its_own(open_cache):
    cache = open_cache()
    cache.put(key(1), Entry(b"parent", 1.0))
    child = os.fork()
    if child == 0:
        found = cache.get(key(1))
        cache.put(key(2), Entry(b"child", 1.0))
        cache.close()
        os._exit(0 if found and found.body == b"parent" else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert cache.get(key(2)).body == b"child"
    cache.put(key(3), Entry(b"parent", 1.0))
    assert cache.get(key(3)) is not None


def test_clearing_reaches_those_who_use_it(open_cache):
    cache, other = open_cache(), open_cache()
    for number in range(100):
        other.put(key(number), Entry(bytes(2000), 1.0))
    assert cache.contents().entries == 100
    assert cache.contents().size > 200_000
    cache.clear()
    assert cache.contents().entries == 0
    assert other.get(key(1)) is None
    other.put(key(1), Entry(b"one", 1.0))
    assert cache.get(key(1)).body == b"one"


def test_looking_at_nothing_makes_nothing(open_cache, tmp_path):
    cache = open_cache()
    assert (cache.contents().entries, cache.contents().size) == (0, 0)
    cache.clear()
    assert list(tmp_path.iterdir()) == []


def test_where_it_stands(monkeypatch, tmp_path):
    monkeypatch.setenv("TILTYARD_CACHE_DIR", str(tmp_path))
    assert response_folder() == tmp_path / "responses"
    assert cache_folder("/elsewhere") == Path("/elsewhere")
    monkeypatch.delenv("TILTYARD_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/tiltyard")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path("/home/me/.cache/tiltyard")
