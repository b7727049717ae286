"""Storing messages, measured: one by one, in batches, and while a worker embeds."""

import time

import click
import psycopg

from bench.speed.copying import copy
from bench.speed.inserting import insert, keep_rows
from bench.speed.plan import Plan, told
from bench.speed.posting import BATCH, TENANTS, post, post_batches
from bench.speed.running import Api, Service, service, serving, worker

POSTS = {"post-16": 16, "post-64": 64}
EMBEDDING = "post-16-embedding"
BATCHES = "batch-100"
BATCH_CLIENTS = 4
WORKER_SECONDS = 60
COMPLETED = "select count(*) from messages where embedding_status = 'completed'"
PENDING = "select count(*) from messages where embedding_status = 'pending'"


def measure(plan: Plan) -> None:
    """What is wanted of the ids that store, each beside its floor in the same round."""
    if not plan.among([*POSTS, EMBEDDING, BATCHES]):
        return
    with service() as found, serving(found, TENANTS) as api:
        keep_rows(found, plan.texts.messages)
        for _ in range(plan.rounds):
            for name in plan.among(POSTS):
                one_by_one(plan, found, api, name, POSTS[name])
            if plan.among([BATCHES]):
                batches(plan, found, api)
        if plan.among([EMBEDDING]):
            with worker(found):
                wait_for(found, COMPLETED, 1)
                for _ in range(plan.rounds):
                    one_by_one(plan, found, api, EMBEDDING, 16)
                    if counted(found, PENDING) == 0:
                        raise click.ClickException("the worker had nothing to do any more")


def one_by_one(plan: Plan, found: Service, api: Api, name: str, clients: int) -> None:
    """A round of posts, and of pgbench with as many clients."""
    answered = post(api, plan.texts.messages, clients, plan.seconds)
    floor = insert(found, clients, plan.seconds)
    plan.note(name, answered.per_second, floor.per_second, f"{told(answered)}; {floor.told}")


def batches(plan: Plan, found: Service, api: Api) -> None:
    """A round of batches, and of COPY by as many connections; both in messages a second."""
    texts = plan.texts.messages
    answered = post_batches(api, texts, BATCH_CLIENTS, plan.seconds)
    floor = copy(found.settings, texts, BATCH, BATCH_CLIENTS, plan.seconds)
    plan.note(BATCHES, BATCH * answered.per_second, floor, told(answered))


def wait_for(found: Service, statement: str, least: int) -> None:
    """Wait until the statement counts so many. Raises `click.ClickException` after a minute."""
    deadline = time.monotonic() + WORKER_SECONDS
    while counted(found, statement) < least:
        if time.monotonic() > deadline:
            raise click.ClickException("the worker embeds nothing")
        time.sleep(0.1)


def counted(found: Service, statement: str) -> int:
    """What a statement counts, as the owner."""
    with psycopg.connect(found.servers.database) as connection:
        row = connection.execute(statement.encode()).fetchone()
    return int(row[0]) if row else 0
