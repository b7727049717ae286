"""docker/logging/put-templates, against a server that answers as OpenSearch does."""

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from tests.compose.reading import ROOT

FOLDER = ROOT / "docker" / "logging"
POLICY = "/_plugins/_ism/policies/memory-logs"

pytestmark = pytest.mark.skipif(not shutil.which("curl"), reason="curl is not here")


class Answering(NamedTuple):
    url: str
    stored: dict[str, Any]
    """What was put, by its path."""


@pytest.fixture
def opensearch() -> Iterator[Answering]:
    stored: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = POLICY in stored
            self.answer(200 if known else 404, {"_seq_no": 7, "_primary_term": 2} if known else {})

        def do_PUT(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            path, _, seen = self.path.partition("?")
            if path == POLICY and POLICY in stored and seen != "if_seq_no=7&if_primary_term=2":
                self.answer(409, {"error": "version conflict"})
                return
            stored[path] = body
            self.answer(200, {})

        def answer(self, status: int, body: dict[str, Any]) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Answering(f"http://127.0.0.1:{server.server_port}", stored)
        server.shutdown()


def put(url: str) -> int:
    command = ["sh", str(FOLDER / "put-templates"), url, str(FOLDER)]
    return subprocess.run(command, capture_output=True, timeout=30, check=False).returncode


def test_template_and_retention_are_put_again_and_again(opensearch: Answering) -> None:
    for _ in range(2):
        assert put(opensearch.url) == 0
    template = opensearch.stored["/_index_template/memory-logs"]
    policy = opensearch.stored[POLICY]["policy"]
    (own,) = policy["ism_template"]
    assert own["index_patterns"] == template["index_patterns"] == ["memory-logs-*"]
    assert policy["states"][0]["transitions"][0]["conditions"] == {"min_index_age": "14d"}


def test_a_refusal_ends_it_so_that_it_is_tried_again(opensearch: Answering) -> None:
    assert put("http://127.0.0.1:1") != 0
    assert put(f"{opensearch.url}/elsewhere") == 0
    opensearch.stored[POLICY] = "another version"
    assert put(opensearch.url) == 0
