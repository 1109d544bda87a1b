import shutil

import httpx
import pytest
from huggingface_hub import HfApi, constants, errors
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tiltyard.errors import InputError
from tiltyard.models.sources import WHOLE_FILE_BYTES, cached_commit, check_hub, source_digest


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


@pytest.mark.parametrize("position", [0, WHOLE_FILE_BYTES // 2, 2 * WHOLE_FILE_BYTES - 1])
def test_a_retrained_matrix_in_a_large_file_changes_the_digest(tmp_path, position):
    file = tmp_path / "model.safetensors"
    content = bytearray(2 * WHOLE_FILE_BYTES)
    file.write_bytes(content)
    before = source_digest(str(tmp_path))

    end = min(position + 512 * 1024, len(content))
    content[position:end] = b"\x01" * (end - position)
    file.write_bytes(content)

    assert source_digest(str(tmp_path)) != before


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
