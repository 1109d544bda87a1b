"""The way from the Hub to weights in memory, against a local server that answers as the Hub does."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from huggingface_hub import constants

from tiltyard.errors import InputError
from tiltyard.models.weights import load_weights

COMMIT = "c0ffee" * 6 + "c0ff"


class Hub:
    """Serves one folder as the model ``org/name``."""

    def __init__(self, folder):
        self.files = {file.name: file.read_bytes() for file in folder.iterdir()}
        self.gated = False
        self.requests = []

    def answer(self, path):
        """Status, headers and body."""
        if path == "/api/models/org/name/auth-check" and self.gated:
            return 403, {"X-Error-Code": "GatedRepo"}, b""
        if path.startswith("/api/models/org/name/tree/"):
            tree = [{"type": "file", "path": name, "size": 1, "oid": "0"} for name in self.files]
            return 200, {}, json.dumps(tree).encode()
        if path.startswith("/api/models/org/name"):
            gated = "manual" if self.gated else False
            return 200, {}, json.dumps({"id": "org/name", "sha": COMMIT, "gated": gated}).encode()
        if not path.startswith("/org/name/resolve/"):
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        content = self.files.get(path.rsplit("/", 1)[-1])
        if content is None:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
        etag = hashlib.sha1(content).hexdigest()
        return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, content

    def handler(self):
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                path = urlsplit(self.path).path
                hub.requests.append(path)
                status, headers, body = hub.answer(path)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

            def log_message(self, *_):
                pass

        return Handler


@pytest.fixture
def hub(llama_folder, hub_cache, fresh_memory, monkeypatch):
    hub = Hub(llama_folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), hub.handler())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    )
    yield hub
    server.shutdown()
    server.server_close()


def test_a_model_is_downloaded_once_and_then_read_from_the_cache(hub, cpu, fresh_memory):
    weights = load_weights("org/name", placement=cpu)

    assert weights.provenance["weights"] == "hub"
    assert weights.provenance["revision"] == COMMIT
    assert weights.tokenizer.chat_template

    del weights
    fresh_memory.clear()
    hub.requests.clear()

    assert load_weights("org/name", placement=cpu).commit == COMMIT
    assert hub.requests == []


def test_a_checkpoint_without_safetensors_is_read_too(hub, cpu):
    import io

    import torch
    from safetensors.torch import load

    pickled = io.BytesIO()
    torch.save(load(hub.files.pop("model.safetensors")), pickled)
    hub.files["pytorch_model.bin"] = pickled.getvalue()

    assert load_weights("org/name", placement=cpu).model.num_parameters() > 0


def test_a_gated_model_is_told_before_anything_is_downloaded(hub, cpu):
    hub.gated = True

    with pytest.raises(InputError, match=r"access is gated\); accept its terms .* HF_TOKEN"):
        load_weights("org/name", placement=cpu)

    assert not [path for path in hub.requests if "/resolve/" in path]


def test_a_model_that_the_hub_lacks_is_an_input_error(hub, cpu):
    with pytest.raises(InputError, match=r"model 'org/other' .*\(no model of this name"):
        load_weights("org/other", placement=cpu)
