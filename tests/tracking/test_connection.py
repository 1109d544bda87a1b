"""What a server's answers mean to a user, before anything runs."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tiltyard.errors import InputError
from tiltyard.tracking.connection import probe_server


@pytest.fixture
def answer() -> Iterator[Callable[[int, str], str]]:
    """Makes a server that gives every request the same answer; returns its address."""
    servers = []

    def serve(status: int, body: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if status == 302:
                    self.send_header("Location", "/login")
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (401, "You are not authenticated", "refused the credentials; set MLFLOW_TRACKING_USERNAME"),
        (403, "Permission denied", "refused the credentials; set MLFLOW_TRACKING_USERNAME"),
        (403, "Invalid Host header - possible DNS rebinding attack", r"start it with --allowed-hosts 127\.0"),
        (404, "Not Found", "answered 404: no MLflow server; correct tracking.uri"),
        (302, "", "answered 302: no MLflow server; correct tracking.uri"),
        (200, "<html>a web page</html>", "answered 200: no MLflow server; correct tracking.uri"),
        (502, "Bad Gateway", "answers 502; see whether it and its database are up"),
        (503, '{"error_code": "TEMPORARILY_UNAVAILABLE"}', "answers 503; see whether it and its database"),
    ],
)
def test_an_answer_that_is_not_a_servers_welcome_is_explained(answer, status, body, says):
    address = answer(status, body)
    with pytest.raises(InputError, match=says) as caught:
        probe_server(address)
    assert address in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_without_experiments_of_ours_is_a_server(answer):
    probe_server(answer(200, "{}"))
