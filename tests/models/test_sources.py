import os
import shutil
import time

import httpx
import pytest
from huggingface_hub import HfApi, constants, errors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiltyard.errors import InputError
from tiltyard.models import sources
from tiltyard.models.sources import QUIET_SECONDS, cached_commit, check_hub, source_digest


def response(status, code=""):
    request = httpx.Request("GET", "https://huggingface.co/api/models/a/b")
    return httpx.Response(status, request=request, headers={"X-Error-Code": code})


def test_a_copy_of_a_folder_has_its_digest(gpt2_folder, tmp_path):
    shutil.copytree(gpt2_folder, tmp_path / "copy")

    assert source_digest(str(tmp_path / "copy")) == source_digest(str(gpt2_folder))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(min_size=1, max_size=200), data=st.data())
def test_any_changed_byte_changes_the_digest(tmp_path, content, data):
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    before = source_digest(str(tmp_path))
    position = data.draw(st.integers(0, len(content) - 1))

    file.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])

    assert source_digest(str(tmp_path)) != before


def test_a_renamed_file_changes_the_digest_and_a_hidden_one_does_not(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    before = source_digest(str(tmp_path))
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "download").write_text("yesterday")
    assert source_digest(str(tmp_path)) == before

    (tmp_path / "model.safetensors").rename(tmp_path / "other.safetensors")

    assert source_digest(str(tmp_path)) != before


LARGE = 12 * 2**20


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, LARGE - 1))
def test_any_changed_byte_of_a_large_file_changes_the_digest(tmp_path, position):
    file = tmp_path / "model.safetensors"
    file.write_bytes(bytes(LARGE))
    before = source_digest(str(tmp_path))

    with file.open("r+b") as weights:
        weights.seek(position)
        weights.write(b"\x01")

    assert source_digest(str(tmp_path)) != before


def test_a_tensor_that_was_changed_in_place_changes_the_digest(tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    file = tmp_path / "model.safetensors"
    tensors = {f"h.{layer}.weight": torch.zeros(1024, 1024) for layer in range(4)} | {"ln_f": torch.ones(16)}
    save_file(tensors, file)
    before, size = source_digest(str(tmp_path)), file.stat().st_size

    save_file(load_file(file) | {"ln_f": torch.full((16,), 2.0)}, file)

    assert file.stat().st_size == size > 8 * 2**20
    assert source_digest(str(tmp_path)) != before


@pytest.fixture
def read(monkeypatch):
    """The files that were digested, and not remembered."""
    files = []
    digest_file = sources.hashlib.file_digest

    def counted(file, algorithm):
        files.append(file.name)
        return digest_file(file, algorithm)

    monkeypatch.setattr(sources.hashlib, "file_digest", counted)
    return files


def in_the_future(monkeypatch):
    """Let the files be old enough to be remembered."""
    now = time.time
    monkeypatch.setattr(sources.time, "time", lambda: now() + QUIET_SECONDS + 1)


def test_a_process_reads_an_unchanged_file_once(tmp_path, monkeypatch, read):
    in_the_future(monkeypatch)
    for name in ("a.safetensors", "b.safetensors"):
        (tmp_path / name).write_bytes(b"weights")
    before = source_digest(str(tmp_path))
    assert source_digest(str(tmp_path)) == before
    assert len(read) == 2

    (tmp_path / "b.safetensors").write_bytes(b"WEIGHTS")
    assert source_digest(str(tmp_path)) != before
    assert len(read) == 3


def test_what_keeps_size_and_modification_time_is_read_again(tmp_path, monkeypatch, read):
    in_the_future(monkeypatch)
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    status, before = file.stat(), source_digest(str(tmp_path))

    time.sleep(0.05)  # longer than a tick of the disk's clock
    file.write_bytes(b"WEIGHTS")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert file.stat().st_mtime_ns == status.st_mtime_ns
    assert source_digest(str(tmp_path)) != before

    other = tmp_path.with_name("other")
    other.write_bytes(b"wEIGHTS")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    changed = source_digest(str(tmp_path))
    other.replace(file)
    assert source_digest(str(tmp_path)) not in (before, changed)


def test_a_file_that_has_just_been_written_is_not_trusted_to_stay(tmp_path, read):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    assert source_digest(str(tmp_path)) == source_digest(str(tmp_path))
    assert len(read) == 2


def test_a_hub_id_is_digested_with_its_cached_commit(hub_cache, gpt2_folder):
    assert source_digest("org/name") == "org/name@unresolved"

    commit = hub_cache("org/name", gpt2_folder)

    assert source_digest("org/name") == f"org/name@{commit}"
    assert cached_commit("org/name", "no-such-branch") is None


def test_what_is_no_hub_id_has_a_digest_too():
    assert source_digest("no/such/folder") == "no/such/folder@unresolved"


@pytest.mark.parametrize(
    ("failure", "reason", "remedy"),
    [
        (httpx.ConnectError("no route"), "no connection", "check the connection"),
        (httpx.ConnectTimeout("slow"), "no connection", "check the connection"),
        (errors.RepositoryNotFoundError("404", response=response(404)), "no model of this name", "HF_TOKEN"),
        (errors.GatedRepoError("403", response=response(403)), "access is gated", "HF_TOKEN"),
        (errors.RevisionNotFoundError("404", response=response(404)), "no revision 'v9'", "the revision"),
        (errors.HfHubHTTPError("401", response=response(401)), "HTTP 401", "check HF_TOKEN"),
        (errors.HfHubHTTPError("503", response=response(503)), "HTTP 503", "try again later"),
    ],
)
def test_a_refusal_of_the_hub_is_one_line_with_a_remedy(monkeypatch, failure, reason, remedy):
    def refuse(*_, **__):
        raise failure

    monkeypatch.setattr(HfApi, "model_info", refuse)

    with pytest.raises(InputError) as error:
        check_hub("org/name", "v9")

    assert str(error.value).startswith(
        "model 'org/name' is not a local folder and cannot be loaded from the Hub"
    )
    assert reason in error.value.what
    assert remedy in error.value.remedy
    assert "\n" not in str(error.value)


def test_offline_mode_and_impossible_ids_are_told_without_a_request():
    assert constants.HF_HUB_OFFLINE
    with pytest.raises(InputError, match="HF_HUB_OFFLINE is set"):
        check_hub("org/name")
    with pytest.raises(InputError, match="no such folder, and not a Hub id"):
        check_hub("./models/mine")
