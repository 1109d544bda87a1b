"""Where an interrupted run finds what it left."""

from contextlib import suppress
from threading import Timer

from filelock import FileLock

from tiltyard.checkpoints import checkpoint_folder


def interrupted(parent, *, resume=True, name="f00d"):
    """A try that writes a step and is interrupted; returns what it found."""
    found = []
    with suppress(KeyboardInterrupt), checkpoint_folder(parent, name, resume=resume) as folder:
        found = sorted(path.name for path in folder.glob("*"))
        folder.mkdir(exist_ok=True)
        (folder / f"step-{len(found)}").write_text("done")
        raise KeyboardInterrupt
    return found


def test_the_next_try_finds_what_an_interrupted_one_left(tmp_path):
    assert interrupted(tmp_path) == []
    assert interrupted(tmp_path) == ["step-0"]
    assert interrupted(tmp_path) == ["step-0", "step-1"]
    assert interrupted(tmp_path, name="beef") == []


def test_nothing_is_left_after_success(tmp_path):
    interrupted(tmp_path)
    with checkpoint_folder(tmp_path, "f00d", resume=True) as folder:
        assert (folder / "step-0").exists()
    assert list(tmp_path.iterdir()) == []


def test_starting_anew_removes_what_was_left(tmp_path):
    interrupted(tmp_path)
    assert interrupted(tmp_path, resume=False) == []
    assert interrupted(tmp_path) == ["step-0"]


def test_a_folder_that_is_never_made_is_no_trouble(tmp_path):
    with checkpoint_folder(tmp_path, "f00d", resume=True) as folder:
        pass
    assert not folder.exists()


def test_two_runs_of_one_experiment_do_not_share_their_checkpoints(tmp_path, caplog):
    with checkpoint_folder(tmp_path, "f00d", resume=True) as first:
        first.mkdir()
        with checkpoint_folder(tmp_path, "f00d", resume=False) as second:
            assert second is None
        assert first.exists()
    assert "keeps no checkpoints" in caplog.text


def test_who_counts_checkpoints_costs_no_run_its_own(tmp_path):
    interrupted(tmp_path)
    counting = FileLock(tmp_path / "f00d.lock", thread_local=False)
    counting.acquire()
    done = Timer(0.2, counting.release)
    done.start()
    assert interrupted(tmp_path) == ["step-0"]
    done.join()


def test_a_place_that_cannot_be_written_costs_no_run(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    with checkpoint_folder(tmp_path / "file" / "checkpoints", "f00d", resume=True) as folder:
        assert folder is None
    assert "keeps no checkpoints" in caplog.text
