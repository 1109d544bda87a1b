"""A real HTTP server on loopback that answers chat requests, or fails in a chosen way."""

import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODEL = "tiny"
HANG_SECONDS = 3.0


def completion(text="[[ ## answer ## ]]\n42\n\n[[ ## completed ## ]]", **changes):
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": 30,
            "completion_tokens": 12,
            "total_tokens": 42,
            "prompt_tokens_details": {"cached_tokens": 8},
        },
        **changes,
    }


def error_body(message, code=None, kind="error"):
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for headers and body: the second would wait for the first to be acknowledged

    def log_message(self, *args):
        pass

    def do_GET(self):
        fake = self.server.fake
        with fake.lock:
            fake.gets.append((self.path, dict(self.headers)))
        status, body = fake.models
        self.reply(status, body)

    def do_POST(self):
        fake = self.server.fake
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with fake.lock:
            fake.running += 1
            fake.most_running = max(fake.most_running, fake.running)
            fake.arrivals.append(time.monotonic())
            fake.requests.append((self.path, dict(self.headers), body))
            fault = fake.next_fault()
            fake.faults[fault] += 1
        try:
            if fake.delay:
                time.sleep(fake.delay)
            getattr(self, f"do_{fault}")()
        except (BrokenPipeError, ConnectionResetError):
            pass
        finally:
            with fake.lock:
                fake.running -= 1

    def reply(self, status, body, headers=(), kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_ok(self):
        self.reply(200, self.server.fake.answer)

    def do_429_retry_after(self):
        seconds = self.server.fake.retry_after
        self.reply(429, error_body("slow down"), [("Retry-After", str(seconds))])

    def do_429_retry_after_date(self):
        when = formatdate(time.time() + self.server.fake.retry_after, usegmt=True)
        self.reply(429, error_body("slow down"), [("Retry-After", when)])

    def do_429(self):
        self.reply(429, error_body("slow down", "rate_limit_exceeded", "requests"))

    def do_413_too_many_tokens(self):
        self.reply(413, error_body("Request too large: limit 6000", "rate_limit_exceeded", "tokens"))

    def do_429_no_credit(self):
        self.reply(429, error_body("no credit", "insufficient_quota", "insufficient_quota"))

    def do_500(self):
        self.reply(500, error_body("internal"))

    def do_503(self):
        self.reply(503, b"<html>overloaded</html>", kind="text/html")

    def do_hang(self):
        self.server.fake.released.wait(HANG_SECONDS)
        self.close_connection = True

    def do_trickle(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while not self.server.fake.released.wait(0.02):
            self.wfile.write(b"1\r\n \r\n")
            self.wfile.flush()
        self.close_connection = True

    def do_cut(self):
        self.cut()

    def do_cut_in_body(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "5000")
        self.end_headers()
        self.wfile.write(b'{"id": "chatcmpl-1", "choices": [')
        self.wfile.flush()
        self.cut()

    def cut(self):
        # A reset instead of an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def do_malformed(self):
        self.reply(200, b'{"id": "chatcmpl-1", "choices": [{"index"')

    def do_wrong_shape(self):
        self.reply(200, ["not", "a", "completion"])

    def do_html(self):
        self.reply(200, b"<html><body>Sign in to the network</body></html>", kind="text/html")

    def do_empty_choices(self):
        self.reply(200, completion(choices=[]))

    def do_error_in_200(self):
        self.reply(200, error_body("upstream failed", "server_error"))

    def do_401(self):
        given = self.headers.get("Authorization", "")
        self.reply(401, error_body(f"Incorrect API key provided: {given.removeprefix('Bearer ')}"))

    def do_402(self):
        self.reply(402, error_body("pay first"))

    def do_404(self):
        self.reply(404, error_body("The model `tiny` does not exist", "model_not_found"))

    def do_400_context_length(self):
        message = "This model's maximum context length is 512 tokens. However, you requested 900 tokens"
        self.reply(400, error_body(message, 400, "BadRequestError"))

    def do_422_detail(self):
        self.reply(422, {"detail": "Unexpected keys in the request: {'logit_bias'}"})


TRANSIENT = (
    "429_retry_after",
    "429",
    "500",
    "503",
    "hang",
    "trickle",
    "cut",
    "cut_in_body",
    "malformed",
    "wrong_shape",
    "html",
    "empty_choices",
    "error_in_200",
)
PERMANENT = {
    "401": "auth",
    "402": "auth",
    "429_no_credit": "auth",
    "404": "model",
    "400_context_length": "context",
    "413_too_many_tokens": "rate_limit",
    "422_detail": "model",
}
"""Faults that do not pass, with the kind of failure that each should be."""


class FakeServer:
    """What the server does and saw. Change its attributes to change its behaviour."""

    def __init__(self):
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.answer = completion()
        self.models = (200, {"object": "list", "data": [{"id": MODEL}, {"id": "other/model"}]})
        self.script = []
        """Faults of the next requests, in order; then ``share`` and ``among`` decide."""
        self.share = 0.0
        self.among = TRANSIENT
        self.random = random.Random(0)
        self.retry_after = 0.2
        self.delay = 0.0
        self.running = self.most_running = 0
        self.arrivals, self.requests, self.gets, self.faults = [], [], [], Counter()

    def next_fault(self):
        if self.script:
            return self.script.pop(0)
        return self.random.choice(self.among) if self.random.random() < self.share else "ok"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


@contextmanager
def serving(port=0):
    fake = FakeServer()
    server = _Server(("127.0.0.1", port), Handler)
    server.fake = fake
    fake.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
