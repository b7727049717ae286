"""What tasks show of themselves to those who watch them: for whom they are and how much."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery

from memory.jobs import ALL_TENANTS
from memory.settings import Settings
from tasks.configuration import celery_configuration
from tasks.sending import send_again, send_embedding, send_job

ROOT = Path(__file__).parents[2]


class Sent:
    """An application that keeps what would be sent."""

    def __init__(self) -> None:
        self.conf = SimpleNamespace(broker_url="redis://127.0.0.1:1")
        self.name = ""
        self.options: dict[str, Any] = {}

    def send_task(self, name: str, **options: Any) -> None:
        self.name, self.options = name, options

    @property
    def shown(self) -> str:
        assert self.options["kwargsrepr"] == ""
        shown: str = self.options["argsrepr"]
        return shown


@pytest.mark.parametrize(
    ("counts", "shown"),
    [
        ({"acme": 1}, "acme: 1 message"),
        ({"acme": 5_000}, "acme: 5000 messages"),
        ({"acme": 2, "globex": 1}, "acme: 2, globex: 1 messages"),
        ({f"t{n}": 1 for n in range(500)}, "t0: 1, t1: 1, t2: 1 and 497 more tenants"),
    ],
)
def test_an_embedding_task_shows_whose_and_how_many(counts: dict[str, int], shown: str) -> None:
    sent = Sent()
    messages = {tenant: [uuid4() for _ in range(count)] for tenant, count in counts.items()}
    send_embedding(sent, messages)  # type: ignore[arg-type]
    assert (sent.name, sent.shown) == ("embed_messages", shown)
    assert not any(str(id_) in sent.shown for ids in messages.values() for id_ in ids)


def test_another_try_is_shown_as_one() -> None:
    sent = Sent()
    send_embedding(sent, {"acme": [uuid4()]}, alone=True)  # type: ignore[arg-type]
    assert sent.shown == "acme: 1 message, tried before"


def test_a_job_shows_whose_how_far_and_which() -> None:
    sent, job_id = Sent(), uuid4()
    send_job(sent, "retention", ALL_TENANTS, job_id)  # type: ignore[arg-type]
    assert sent.shown == f"all tenants, begins, job {job_id}"
    send_job(sent, "retention", "acme", job_id, "1,500 of 20,000")  # type: ignore[arg-type]
    assert sent.shown == f"acme, 1,500 of 20,000, job {job_id}"


def test_upkeep_shows_whom_it_is_about() -> None:
    sent = Sent()
    send_again(sent, "purge_jobs")  # type: ignore[arg-type]
    assert (sent.shown, sent.options["args"]) == ("all tenants", ())
    send_again(sent, "refresh_statistics", "acme", about="acme")  # type: ignore[arg-type]
    assert (sent.shown, sent.options["args"]) == ("acme", ("acme",))


def test_nobody_sends_a_task_past_these() -> None:
    for package in ("api", "cli", "tasks"):
        for path in (ROOT / package).rglob("*.py"):
            if path != ROOT / "tasks" / "sending.py":
                sent = r"\.send_task\(|(?<!super\(\))\.apply_async\(|\.delay\("
                found = re.findall(sent, path.read_text())
                assert not found, path.name


def test_each_task_waits_in_a_queue_that_is_known() -> None:
    with Celery("memory-test", set_as_current=False) as app:
        app.conf.update(celery_configuration(Settings(redis_url="redis://127.0.0.1:1")))
        names = {queue.name for queue in app.conf.task_queues}
        for task in ("embed_messages", "sweep_pending", "expire_messages"):
            route = app.amqp.router.route({}, task)
            expected = "embeddings" if task == "embed_messages" else "maintenance"
            assert route["queue"].name == expected
            assert expected in names
