"""An S3 protocol server that can be made to fail: moto behind a proxy that injects faults."""

from __future__ import annotations

import http.client
import logging
import socket
import struct
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
from fsspec.core import url_to_fs
from moto.server import ThreadedMotoServer

BUCKET = "bucket"
BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
PIECES = 8  # of a body that dribbles


class Fault(Enum):
    """What happens to a request instead of its answer."""

    SLOW_DOWN = "503"
    RESET = "the request arrives, the connection is reset before the answer"
    RESET_IN_BODY = "the connection is reset half-way through the answer"
    STALL = "half the answer, then nothing for longer than a client waits"
    DRIBBLE = "the whole answer, in small pieces with pauses"


# What is done to the nth request: by method (GET, PUT, ...), by path with its query, and n from 0.
Plan = Callable[[str, str, int], Fault | None]


def healthy(method: str, path: str, nth: int) -> None:
    """No fault at all."""


class S3Server:
    """A server on a port of its own whose ``plan`` may be exchanged at any time.

    Attributes:
        url: where clients reach it.
        plan: which request meets which fault.
        stall_s: how long a stalled answer takes before it is cut off.
        pause_s: between two pieces of an answer that dribbles.
        injected: how many requests of each method met each fault.
        requests: how many requests came, by method and decoded path with its query.
    """

    def __init__(self, stall_s: float = 3.0, pause_s: float = 0.05) -> None:
        self.plan: Plan = healthy
        self.stall_s, self.pause_s = stall_s, pause_s
        self.injected: Counter[tuple[str, Fault]] = Counter()
        self.requests: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()
        # It would log each of the thousands of requests into what a test has captured.
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._moto.start()
        self.behind = self._moto.get_host_and_port()
        handler = type("Handler", (_Handler,), {"s3": self})
        self._proxy = _Server(("127.0.0.1", 0), handler)
        threading.Thread(target=self._proxy.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._proxy.server_port}"

    def fault_for(self, method: str, path: str) -> Fault | None:
        """Count a request; what is to happen to it."""
        with self._lock:
            nth = self.requests[method, path]
            self.requests[method, path] += 1
            fault = self.plan(method, path, nth)
            if fault is not None:
                self.injected[method, fault] += 1
        return fault

    def stop(self) -> None:
        """End both servers."""
        self._proxy.shutdown()
        self._proxy.server_close()
        self._moto.stop()


@contextmanager
def s3_server(**environment: str) -> Iterator[S3Server]:
    """A server while it is needed, and an environment in which it is the one that clients ask."""
    server = S3Server()
    settings = {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**settings, **environment}.items():
            patch.setenv(name, value)
        try:
            yield server
        finally:
            server.stop()


def new_bucket() -> str:
    """The URI of an empty bucket; servers of one process share theirs, so its name is new."""
    uri = f"s3://test-{uuid.uuid4().hex}"
    filesystem, path = url_to_fs(uri)
    filesystem.mkdir(path)
    return uri


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer would wait 40 ms for its head to be confirmed
    s3: S3Server

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.s3.fault_for(self.command, unquote(self.path))
        if fault is Fault.SLOW_DOWN:
            return self._answer(503, [("Content-Type", "application/xml")], BUSY)
        status, headers, answer = self._ask(body)
        if len(answer) < 2 or self.command == "HEAD":  # there is no half of this
            if fault is Fault.STALL:
                time.sleep(self.s3.stall_s)
            if fault in (Fault.STALL, Fault.RESET_IN_BODY):
                return self._reset()
        if fault is Fault.RESET:
            return self._reset()
        self._answer(status, headers, answer, fault)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any  # noqa: N815

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        """What the server behind answers."""
        connection = http.client.HTTPConnection(*self.s3.behind, timeout=60)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            response = connection.getresponse()
            return response.status, response.getheaders(), response.read()
        finally:
            connection.close()

    def _answer(
        self,
        status: int,
        headers: list[tuple[str, str]],
        body: bytes,
        fault: Fault | None = None,
    ) -> None:
        self.send_response_only(status)
        length = str(len(body))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command == "HEAD":
            return
        half = len(body) // 2
        if fault is Fault.RESET_IN_BODY:
            self.wfile.write(body[:half])
            return self._reset()
        if fault is Fault.STALL:
            self.wfile.write(body[:half])
            time.sleep(self.s3.stall_s)
            return self._reset()
        if fault is Fault.DRIBBLE:
            step = max(len(body) // PIECES, 1)
            for start in range(0, len(body), step):
                self.wfile.write(body[start : start + step])
                time.sleep(self.s3.pause_s)
            return None
        self.wfile.write(body)

    def _reset(self) -> None:
        """End the connection with a reset instead of an orderly close."""
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """Silence."""
