"""Flower as an operator meets it: closed to others, and telling what ran, for whom, what failed."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import psutil
import pytest
from celery import Celery
from pytest_celery import CeleryTestWorker

from cli.flower import COLUMNS, readable
from memory.settings import Settings
from tasks.configuration import celery_configuration
from tasks.sending import send_again
from tests.conftest import message, serving
from tests.memory.embedding import fake_api
from tests.memory.embedding.fake_api import DIMENSIONS, Answer, FakeApi
from tests.ports import free_port
from tests.processes import ProcessContainer, wait_until
from tests.workers import environment

AUTH = ("operator", "a,b")
SECRET = "I am afraid of peanuts in the dark"

Row = dict[str, Any]


@pytest.fixture
def provider_api() -> Iterator[FakeApi]:
    with fake_api.serving() as api:
        yield api


@pytest.fixture
def settings(settings: Settings, provider_api: FakeApi, place: Path) -> Settings:
    """Of a service whose provider is told what to answer, and of its Flower."""
    return msgspec.structs.replace(
        settings,
        data_dir=str(place),
        embedding_provider="openai",
        embedding_model_name="m",
        embedding_dimensions=DIMENSIONS,
        openai_base_url=provider_api.url,
        openai_api_key="none",
        flower_port=free_port(),
        flower_auth=":".join(AUTH),
    )


@pytest.fixture
def flower(settings: Settings, tmp_path: Path) -> Iterator[ProcessContainer]:
    """A Flower that knows the worker's events from now on."""
    command = [sys.executable, "-m", "cli.main", "flower"]
    log = tmp_path / "flower.log"
    container = ProcessContainer("flower", command, environment(settings), log)
    try:
        wait_until(lambda: answers(settings), "Flower answers")
        yield container
    finally:
        container.teardown()


def get(settings: Settings, path: str, auth: tuple[str, str] | None = AUTH) -> httpx.Response:
    url = f"http://127.0.0.1:{settings.flower_port}{path}"
    return httpx.get(url, auth=auth, timeout=10)


def answers(settings: Settings) -> bool:
    try:
        return get(settings, "/healthcheck", None).status_code == 200
    except httpx.TransportError:
        return False


def rows(settings: Settings) -> list[Row]:
    """What the page of tasks shows, in its columns."""
    order = "order[0][column]=0&order[0][dir]=desc&columns[0][data]=received"
    answer = get(settings, f"/tasks/datatable?draw=1&start=0&length=100&{order}")
    assert answer.status_code == 200, answer.text
    found: list[Row] = answer.json()["data"]
    return found


def ended(settings: Settings, name: str) -> Row | None:
    """The task called `name`, once it has ended."""
    ends = ("SUCCESS", "FAILURE")
    found = (row for row in rows(settings) if row["name"] == name and row["state"] in ends)
    return next(found, None)


def waited_for(settings: Settings, name: str) -> Row:
    wait_until(lambda: ended(settings, name), f"{name} has ended")
    row = ended(settings, name)
    assert row is not None
    return row


@pytest.fixture
def send(settings: Settings) -> Iterator[Callable[..., None]]:
    with Celery("memory-test", set_as_current=False) as app:
        app.conf.update(celery_configuration(settings))
        yield lambda *arguments, **options: send_again(app, *arguments, **options)


def test_it_asks_for_the_password_and_listens_here_only(
    settings: Settings, flower: ProcessContainer
) -> None:
    # The last one is what Flower makes of a password with a comma in its own variable.
    for wrong in (None, ("operator", "x"), ("", ""), ("operator", "a")):
        for path in ("/", "/tasks", "/api/tasks", "/workers?json=1", "/broker"):
            assert get(settings, path, wrong).status_code == 401
    assert get(settings, "/tasks").status_code == 200
    connections = psutil.Process(flower.process.pid).net_connections()
    listening = {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    assert listening == {"127.0.0.1"}
    assert "a,b" not in " ".join(psutil.Process(flower.process.pid).cmdline())


def test_one_can_tell_what_ran_for_whom_and_what_failed(
    settings: Settings,
    provider_api: FakeApi,
    flower: ProcessContainer,
    worker: CeleryTestWorker,
    send: Callable[..., None],
) -> None:
    refusal = {"error": {"message": f"Input should be happier: {SECRET!r}"}}
    with serving(settings) as api:
        provider_api.answers = [Answer(status=422, body=refusal)]
        api.post("/v1/messages", json=message(content=SECRET))
        failed = waited_for(settings, "embed_messages")
    assert (failed["args"], failed["state"]) == ("acme: 1 message", "FAILURE")
    assert failed["result"] == "acme: 1 given up: OpenAI answered 422"
    assert failed["worker"].startswith("celery@")

    send("measure_store")
    assert waited_for(settings, "measure_store")["args"] == "all tenants"
    assert waited_for(settings, "measure_store")["result"].endswith("0 pending, 1 failed")
    counted = waited_for(settings, "refresh_statistics")
    assert (counted["args"], counted["kwargs"]) == ("acme", "")
    assert (counted["state"], counted["result"]) == ("SUCCESS", "not needed yet")

    pages = [get(settings, f"/task/{row['uuid']}").text for row in rows(settings)]
    assert any("given up" in page for page in pages)
    for shown in (*pages, str(rows(settings)), worker.logs(), flower.logs()):
        assert "peanuts" not in shown
    # A failure that is known for what it is is a line in the log.
    assert "Traceback" not in worker.logs()


def test_it_remembers_what_it_saw(
    settings: Settings,
    flower: ProcessContainer,
    worker: CeleryTestWorker,
    send: Callable[..., None],
) -> None:
    send("measure_store")
    before = waited_for(settings, "measure_store")
    flower.restart()
    wait_until(lambda: answers(settings), "Flower answers again")
    after = waited_for(settings, "measure_store")
    assert (after["uuid"], after["result"]) == (before["uuid"], before["result"])


def test_the_page_has_the_columns_that_tell_it(
    settings: Settings, flower: ProcessContainer
) -> None:
    page = get(settings, "/tasks").text
    places = [page.index(f'<th data-column="{name}">') for name in COLUMNS.split(",")]
    assert places == sorted(places)
    # Both queues are there before a worker serves them.
    broker = get(settings, "/broker").text
    assert "embeddings" in broker
    assert "maintenance" in broker


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ({"result": "'acme: 5 embedded'"}, "acme: 5 embedded"),
        ({"result": '"acme\'s"'}, "acme's"),
        ({"result": "[1]"}, "[1]"),
        ({"exception": "NotEmbeddedError('acme: 5')"}, "acme: 5"),
        ({"exception": 'JobStepError("put off: x")'}, "put off: x"),
        ({"exception": "KeyError('id')"}, "KeyError('id')"),
        ({}, ""),
    ],
)
def test_a_task_is_shown_with_what_it_says_of_itself(written: Row, shown: str) -> None:
    task = SimpleNamespace(**{"result": None, "exception": None} | written)
    assert readable(task).result == shown
