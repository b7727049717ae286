"""A retention run whose worker is killed ends as if it had not been."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from celery import Celery
from pytest_celery import CeleryTestWorker
from sqlalchemy import Connection, text

from memory.retention_runs import Run
from memory.settings import Settings
from tasks.archive_files import read_file
from tasks.configuration import celery_configuration
from tasks.resources import Resources
from tests.api.speaking import Speaker
from tests.processes import wait_until
from tests.tasks.ageing import archived, expire, grow_old, live

MESSAGES = 6_000
# What a killed worker held is free at once: no test waits for a minute's lease.
END_LEASES = text(
    "update jobs set lease_until = now() - interval '1 second' where runner is not null"
)
STATE = text("select state, done, result from jobs")
FILES = "archive"


@pytest.fixture
def settings(settings: Settings, tmp_path: Path) -> Settings:
    """With a folder for what is deleted."""
    return msgspec.structs.replace(settings, archive_dir=str(tmp_path / FILES))


def state(owner: Connection) -> Any:
    return owner.execute(STATE).one()


def test_killed_in_the_middle_a_run_goes_on_where_it_stood(
    api: httpx.Client,
    owner: Connection,
    settings: Settings,
    worker: CeleryTestWorker,
    tmp_path: Path,
) -> None:
    store(api, owner)
    resources = Resources(settings)
    expire(resources, Run(as_of=datetime.now(UTC), actions=("archive",)))
    # Its result would be the only job's else.
    owner.execute(text("delete from jobs"))
    half = archived(owner)[: MESSAGES // 2]
    owner.execute(
        text(
            "update messages set archived_at = archived_at - interval '91 days'"
            " where content = any(:half)"
        ),
        {"half": half},
    )
    run_and_kill(api, owner, worker)
    broker = Celery(set_as_current=False)
    broker.conf.update(celery_configuration(settings))
    with broker:
        broker.send_task("restart_stalled_jobs")
    wait_until(lambda: state(owner).state == "completed", "the run has ended", 120)
    resources.engine.dispose()
    assert state(owner).result["deleted"] == MESSAGES // 2
    assert state(owner).done == MESSAGES // 2
    assert archived(owner) == sorted(set(archived(owner)) - set(half))
    assert live(owner) == []
    assert owner.scalar(text("select count(*) from archived_terms")) == MESSAGES // 2
    files = list((tmp_path / FILES).rglob("*.gz"))
    filed = [message.content for path in files for message in read_file(path)]
    assert sorted(filed) == sorted(half)


def store(api: httpx.Client, owner: Connection) -> None:
    """Messages that are old and matter little."""
    speaker = Speaker(api, "acme")
    for start in range(0, MESSAGES, 1_000):
        speaker.say_all(
            [
                {
                    "conversation_id": f"c{n % 50}",
                    "role": "user",
                    "content": f"note{n:05} of a day long gone",
                    "importance_override": 0.1,
                }
                for n in range(start, start + 1_000)
            ]
        )
    owner.execute(text("update messages set embedding_status = 'completed'"))
    grow_old(owner, 31)


def run_and_kill(api: httpx.Client, owner: Connection, worker: CeleryTestWorker) -> None:
    """Begin a run, kill its worker when it has done some, and start another."""
    answer = api.post("/v1/admin/retention/run", json={"wait": False})
    assert answer.status_code == 202
    wait_until(lambda: state(owner).done > 0, "the run has begun")
    worker.kill()
    assert 0 < state(owner).done < MESSAGES // 2, "killed too late to show anything"
    assert state(owner).state == "running"
    owner.execute(END_LEASES)
    worker.restart()
