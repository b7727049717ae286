"""The sweep: whatever else waits, what was left behind has its turn."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from celery import Celery
from sqlalchemy import Connection

from memory.queues import EMBEDDINGS
from memory.settings import Settings
from tasks import sweeping
from tasks.configuration import celery_configuration
from tasks.embedding import CLAIM_MESSAGES, claim
from tasks.resources import Resources
from tasks.sending import queue_depths, send_embedding
from tasks.sweeping import SWEEP_LEAST, SWEEP_QUEUE_DEPTH, TRIED_MESSAGES, overdue_messages
from tests.db.rows import add_message


@pytest.fixture
def app(settings: Settings, resources: Resources) -> Iterator[Celery]:
    """A process of a worker that is given no task."""
    app = Celery("test", set_as_current=False, task_cls="tasks.base:Task")
    app.conf.update(celery_configuration(settings))
    app.resources = resources
    yield app
    app.close()


def sent(app: Celery) -> list[tuple[dict[str, list[str]], bool]]:
    """What waits in the broker, in its order, and waits there no longer."""
    found: list[Any] = []
    with app.connection_for_read() as connection, connection.SimpleQueue(EMBEDDINGS) as queue:
        for _ in range(queue.qsize()):
            received = queue.get(timeout=5)
            received.ack()
            found.append((received.payload[1]["messages"], received.payload[1]["alone"]))
    return found


def sweep(app: Celery) -> str:
    said: str = app.tasks["sweep_pending"]()
    return said


def fill(app: Celery) -> None:
    """As many tasks as are more than enough."""
    for _ in range(SWEEP_QUEUE_DEPTH):
        send_embedding(app, {"busy": [UUID(int=1)]}, origins=())
    assert queue_depths(app, [EMBEDDINGS]) == {EMBEDDINGS: SWEEP_QUEUE_DEPTH}


def test_what_failed_before_is_sent_apart(app: Celery, owner: Connection) -> None:
    fresh = [add_message(owner, age=100) for _ in range(CLAIM_MESSAGES + 1)]
    failed = [add_message(owner, attempts=1, claimed_for=-1) for _ in range(TRIED_MESSAGES + 1)]
    other = add_message(owner, "globex", age=100)
    assert sweep(app) == f"{len(fresh) + len(failed) + 1} overdue, 5 tasks sent"
    assert sent(app) == [
        ({"acme": [str(id_) for id_ in fresh[:CLAIM_MESSAGES]]}, False),
        ({"acme": [str(fresh[-1])]}, False),
        ({"acme": [str(id_) for id_ in failed[:TRIED_MESSAGES]]}, True),
        ({"acme": [str(failed[-1])]}, True),
        ({"globex": [str(other)]}, False),
    ]


def test_of_those_that_failed_before_each_is_claimed_alone(
    app: Celery, resources: Resources, owner: Connection
) -> None:
    ids = [add_message(owner, attempts=1, claimed_for=-1) for _ in range(3)]
    for id_ in ids:
        assert [each.id for each in claim(resources, "acme", ids, alone=True)] == [id_]
    assert claim(resources, "acme", ids, alone=True) == []


def test_one_task_embeds_all_that_failed_before(app: Celery, owner: Connection) -> None:
    ids = [add_message(owner, attempts=1, claimed_for=-1) for _ in range(3)]
    messages = {"acme": [str(id_) for id_ in ids]}
    assert app.tasks["embed_messages"](messages, alone=True) == "acme: 3 embedded"


def test_behind_a_full_queue_each_sweep_sends_others(app: Celery, owner: Connection) -> None:
    tenants = [f"tenant-{number:02}" for number in range(2 * SWEEP_LEAST + 5)]
    for tenant_id in tenants:
        add_message(owner, tenant_id, attempts=1, claimed_for=-1)
    swept: list[str] = []
    for _ in range(3):
        fill(app)
        assert sweep(app) == f"{len(tenants)} overdue, {SWEEP_LEAST} tasks sent"
        swept += [tenant for messages, _ in sent(app) for tenant in messages if tenant != "busy"]
    # All have been sent before the first is sent again.
    assert swept == (2 * tenants)[: 3 * SWEEP_LEAST]


def test_more_than_a_sweep_sees_at_once_is_seen_in_turn(
    resources: Resources, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeping, "SWEEP_MESSAGES", 3)
    ids = [add_message(owner, age=100) for _ in range(5)]
    behind, seen = resources.swept, []
    for _ in range(3):
        rows = overdue_messages(resources, 10, behind)
        _, behind = sweeping.sweep_lots(rows, most=10)
        seen += [row.id for row in rows]
    assert seen == (2 * ids)[:9]
