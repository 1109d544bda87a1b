"""Files that are written as a whole or not at all."""

import resource
import signal

import pytest

from tiltyard.files import write_text


@pytest.fixture
def nearly_full():
    """A process that cannot write files of more than 100 bytes, as on a disk with no more room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_a_file_that_does_not_fit_leaves_the_old_one_and_nothing_else(tmp_path, nearly_full):
    write_text(tmp_path / "result.json", "old")
    with pytest.raises(OSError, match="File too large"):
        write_text(tmp_path / "result.json", "new" * 100)
    assert [file.name for file in tmp_path.iterdir()] == ["result.json"]
    assert (tmp_path / "result.json").read_text() == "old"
