"""From the store to the vectors, measured: what waits, and what comes to an idle service."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import click
import httpx
import psycopg

from bench.latency import percentile
from bench.speed import model
from bench.speed.plan import Plan
from bench.speed.posting import BATCH, TENANTS, messages
from bench.speed.processes import Spent, resident_megabytes
from bench.speed.repeating import SEARCH
from bench.speed.running import Api, Service, service, serving, worker
from bench.speed.writes import COMPLETED, PENDING, wait_for

IDS = ("drain", "searchable-p95", "rss-api", "rss-worker")
DRAINED = 1_200
# After that it is enough: the rate is of what is done.
DRAIN_SECONDS = 40
CLAIM_SECONDS = 60
MODEL_BATCH = 64
POSTS = 100
# Long enough that the service is idle again.
PAUSE_SECONDS = 0.03
POLL_SECONDS = 0.001
# To count what is pending takes a processor itself.
COUNT_SECONDS = 0.05
LATE_SECONDS = 30
REST_SECONDS = 3
CLAIMED = (
    "select count(*) from messages where embedding_status = 'pending' and claimed_until > now()"
)
VECTORS = "select count(*) from message_embeddings"
STATUS = "select embedding_status from messages where tenant_id = %s and id = %s"


class Drained(NamedTuple):
    """What a worker did from its first claim to the last vector, or as far as it came in time."""

    seconds: float
    vectors: int
    messages: int
    busy: dict[str, float]


def measure(plan: Plan) -> None:
    """What is wanted of the ids that need a worker, in an empty store."""
    if not plan.among(IDS):
        return
    with service() as found, serving(found, TENANTS) as api:
        for number in range(plan.rounds if plan.among(["drain"]) else 0):
            drain(plan, found, api, number)
        if plan.among(IDS[1:]):
            with worker(found) as pid:
                ask_once(api)
                post_one(api, "Warm.")
                wait_for(found, COMPLETED, 1)
                for number in range(plan.rounds if plan.among(["searchable-p95"]) else 0):
                    searchable(plan, found, api, number)
                if plan.among(["rss-api", "rss-worker"]):
                    resident(plan, {"rss-api": api.pid, "rss-worker": pid})


def drain(plan: Plan, found: Service, api: Api, number: int) -> None:
    """A round: messages are posted, then a worker starts; beside it the model alone."""
    texts = [each["content"] for each in messages(plan.texts.messages[:DRAINED], f"{number:03}")]
    post_all(api, texts)
    with worker(found) as pid:
        drained = until_drained(found, found.pids(worker=pid))
    floor = model.alone(texts, MODEL_BATCH, plan.seconds)
    busy = {**drained.busy, "the model alone": floor.busy_ms / 1e3 * drained.messages}
    each = ", ".join(f"{name} {1e3 * value / drained.messages:.2f}" for name, value in busy.items())
    said = f"{drained.messages / drained.seconds:,.1f} messages/s; CPU ms a message: {each}"
    plan.note("drain", drained.vectors / drained.seconds, floor.per_second, said)


def post_all(api: Api, texts: Sequence[str]) -> None:
    """Post the texts in batches, each of one tenant."""
    with httpx.Client(base_url=api.url, headers=dict(api.headers), timeout=60) as client:
        for place, start in enumerate(range(0, len(texts), BATCH)):
            some = messages(texts[start : start + BATCH], "")
            tenant = TENANTS[place % 4]
            body = {"messages": [{**each, "tenant_id": tenant} for each in some]}
            client.post("/v1/messages/batch", json=body).raise_for_status()


def until_drained(found: Service, pids: dict[str, int]) -> Drained:
    """Wait until nothing is pending, for so long. Raises `click.ClickException` without a claim."""
    deadline = time.monotonic() + CLAIM_SECONDS
    with psycopg.connect(found.servers.database, autocommit=True) as connection:

        def count(statement: str) -> int:
            return int((connection.execute(statement.encode()).fetchone() or (0,))[0])

        while not count(CLAIMED):
            if time.monotonic() > deadline:
                raise click.ClickException(f"nothing is claimed within {CLAIM_SECONDS} s")
            time.sleep(POLL_SECONDS)
        began, spent = time.perf_counter(), Spent(pids)
        before, waiting = count(VECTORS), count(PENDING)
        while count(PENDING) and time.perf_counter() - began < DRAIN_SECONDS:
            time.sleep(COUNT_SECONDS)
        took, busy = time.perf_counter() - began, spent.since()
        done = waiting - count(PENDING)
        if not done:
            raise click.ClickException(f"nothing is embedded within {DRAIN_SECONDS} s")
        return Drained(took, count(VECTORS) - before, done, busy)


def searchable(plan: Plan, found: Service, api: Api, number: int) -> None:
    """A round: posts one by one, each until its vector can be found; beside them the model."""
    texts = messages(plan.texts.messages[-POSTS:], f"{number:03}")
    taken = []
    with (
        httpx.Client(base_url=api.url, headers=dict(api.headers)) as client,
        psycopg.connect(found.servers.database, autocommit=True) as connection,
    ):
        for each in texts:
            taken.append(until_searchable(client, connection, each))
            time.sleep(PAUSE_SECONDS)
    contents = [each["content"] for each in texts]
    floor = model.alone(contents, 1, min(plan.seconds, 3.0))
    p50, p95 = (1000 * percentile(taken, share) for share in (0.5, 0.95))
    said = f"p50 {p50:.1f} ms, slowest {1000 * max(taken):.1f} ms, {len(taken)} posts"
    plan.note("searchable-p95", p95, floor.batch_ms, said)


def until_searchable(
    client: httpx.Client, connection: psycopg.Connection, message: dict[str, str]
) -> float:
    """The seconds from before the POST to the commit of its vector, by which a search finds it."""
    started = time.perf_counter()
    stored = client.post("/v1/messages", json=message).raise_for_status().json()
    key = (message["tenant_id"], stored["id"])
    while connection.execute(STATUS, key, prepare=True).fetchone() != ("completed",):
        if time.perf_counter() - started > LATE_SECONDS:
            raise click.ClickException(f"no vector within {LATE_SECONDS} s")
        time.sleep(POLL_SECONDS)
    took = time.perf_counter() - started
    asked = {"tenant_id": message["tenant_id"], "query": message["content"], "mode": "semantic"}
    answer = client.get(SEARCH, params=asked).raise_for_status().json()
    if stored["id"] not in [each["message_id"] for each in answer["items"]]:
        raise click.ClickException("a message that has a vector is not found")
    return took


def ask_once(api: Api) -> None:
    """Have the API load its model."""
    asked = {"tenant_id": TENANTS[0], "query": "Is the model loaded?"}
    httpx.get(f"{api.url}{SEARCH}", params=asked, headers=dict(api.headers)).raise_for_status()


def post_one(api: Api, content: str) -> None:
    """Store a message."""
    (body,) = messages([content], "")
    sent = httpx.post(f"{api.url}/v1/messages", json=body, headers=dict(api.headers))
    sent.raise_for_status()


def resident(plan: Plan, pids: dict[str, int]) -> None:
    """The memory of API and worker at rest, and of a process that has the model and no more."""
    time.sleep(REST_SECONDS)
    floor = model.alone(plan.texts.messages[:MODEL_BATCH], 1, 0.5)
    for name, pid in pids.items():
        if name in plan.wanted:
            each = resident_megabytes(pid)
            said = f"{len(each)} processes: {', '.join(f'{one:.0f}' for one in each)} MB"
            plan.note(name, sum(each), floor.megabytes, said)
