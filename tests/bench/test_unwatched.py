"""What watching is compared with."""

import subprocess
import sys

# In a process of its own, which is not to be watched any more.
COUNTED = """
import structlog
from prometheus_client import generate_latest
from api.metrics import Metrics
from bench.unwatched import unwatch
from memory.logs import configure_logging

unwatch()
configure_logging("INFO", "api")
metrics = Metrics()
metrics.requests.labels("GET", "/v1/messages", "200").inc()
metrics.request_seconds.labels("GET", "/v1/messages").observe(1)
with metrics.leg("find"):
    metrics.searched("acme", 1)
structlog.get_logger("api").info("request")
structlog.get_logger("api").warning("still said")
page = generate_latest(metrics.registry).decode()
counted = [line for line in page.splitlines() if line.startswith(("http_", "memory_search"))]
print("\\n".join(line for line in counted if "_created" not in line and not line.endswith(" 0.0")))
"""


def test_nothing_is_counted_or_logged_where_nothing_watches() -> None:
    command = [sys.executable, "-c", COUNTED]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.strip() == ""
    assert '"event": "still said"' in ended.stderr
    assert '"event": "request"' not in ended.stderr
