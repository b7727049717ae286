"""Faults of what is around: the provider, the clocks, what is posted and what is sent as tasks."""

import asyncio
import contextlib
import signal
import threading
from functools import partial
from typing import Any
from uuid import uuid4

from celery import Celery

from bench.chaos.callers import message, post
from bench.chaos.judging import Excuse
from bench.chaos.ledger import POISON, TENANTS
from bench.chaos.of_processes import owner
from bench.chaos.provider import Failing
from bench.chaos.scene import API, BEAT, WORK, End, Fault, Felt, Scene, over
from bench.chaos.stage import APIS, MAINTENANCE, WORKERS
from bench.chaos.stage import BEAT as BEAT_PART

DEGRADED: frozenset[Excuse] = frozenset({"degraded"})
APART_SECONDS = (-7200.0, -600.0, -90.0, 0.0, 90.0, 600.0, 7200.0)
POISON_SECONDS = 3.0
TASKS = 40
PERIODIC = ("sweep_pending", "restart_stalled_jobs", "reindex_terms", "measure_store")


def fail(scene: Scene, failing: Failing) -> End:
    """Have the provider fail in some way until the fault ends."""
    scene.stage.provider.failing = failing
    return partial(setattr, scene.stage.provider, "failing", "")


def set_apart(scene: Scene, *names: str) -> End:
    """Put the clocks of parts ahead or behind, where they stay until this fault comes again."""
    seconds = scene.numbers.choice(APART_SECONDS)
    for name in names:
        scene.stage.clocks[name].set_apart(seconds)
    return over


def poison(scene: Scene) -> End:
    """Post a message that ends whoever embeds it, from now on and for good."""
    stage, met = scene.stage, threading.Event()

    def overhear(port: int, texts: list[str]) -> None:
        if not any(POISON in text for text in texts):
            return
        for name in WORKERS:
            if asking := owner(stage.kept[name], port):
                met.set()
                asking.send_signal(signal.SIGKILL)

    if not any(getattr(each, "poisons", False) for each in stage.provider.overhear):
        overhear.poisons = True  # type: ignore[attr-defined]
        stage.provider.overhear.append(overhear)
    body = message(scene.asker, scene.numbers.choice(TENANTS), f"{POISON} ")
    stage.run(post_soon(scene, body))
    met.wait(POISON_SECONDS)
    return over


async def post_soon(scene: Scene, body: dict[str, Any]) -> None:
    """Post it, if it can be done soon: what stands in the way may end only after this."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(POISON_SECONDS):
            await post(scene.asker, body)


def send_tasks(scene: Scene) -> End:
    """Send tasks again, in any order: of what is done, of what is under way, of what is not."""
    numbers = scene.numbers
    said = scene.ledger.all_said()
    jobs = scene.ledger.all_jobs()
    tasks: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in PERIODIC * 2]
    for _ in range(TASKS):
        some = numbers.sample(said, min(len(said), numbers.randint(1, 20)))
        messages: dict[str, list[str]] = {}
        for each in some:
            # Now and then under a tenant whose message it is not.
            tenant = each.tenant_id if numbers.random() < 0.9 else numbers.choice(TENANTS)
            messages.setdefault(tenant, []).append(each.id)
        messages.setdefault(numbers.choice(TENANTS), []).append(str(uuid4()))
        again = {"messages": messages, "alone": numbers.random() < 0.3}
        tasks += [("embed_messages", again)] * numbers.randint(1, 2)
    of_kind = {"export": "export_tenant", "rescore": "rescore_importance"}
    for job in numbers.sample(jobs, min(len(jobs), 10)):
        if job.kind in of_kind and job.tenant_id:
            about = {"tenant_id": job.tenant_id, "job_id": job.id}
            tasks += [(of_kind[job.kind], about)] * 2
    numbers.shuffle(tasks)
    app = Celery("chaos", broker=scene.stage.valkey.url, set_as_current=False)
    try:
        for name, named in tasks:
            queue = "embeddings" if name == "embed_messages" else "maintenance"
            app.send_task(name, kwargs=named, queue=queue, retry=False)
    finally:
        app.close()
    return over


def of_provider(kind: str, failing: Failing, most: float = 2.5) -> Fault:
    """The provider fails in some way."""
    return Fault(kind, WORK, lambda scene: fail(scene, failing), DEGRADED, (0.5, most))


def of_clock(kind: str, felt: frozenset[Felt], *names: str) -> Fault:
    """The clocks of parts are set apart."""
    return Fault(kind, felt, lambda scene: set_apart(scene, *names), seconds=(0.1, 1.0))


FAULTS = (
    of_provider("provider slow", "slow", 5.0),
    of_provider("provider answers 500", "failing"),
    of_provider("provider answers 429", "limiting"),
    of_provider("provider: wrong dimensions", "dimensions"),
    of_provider("provider: not a number", "not numbers"),
    of_provider("provider: no JSON", "no JSON"),
    of_clock("clock of an api apart", API, APIS[1]),
    of_clock("clock of workers apart", WORK | BEAT, *WORKERS, MAINTENANCE),
    of_clock("clock of beat apart", WORK | BEAT, BEAT_PART),
    Fault("poison message", WORK, poison),
    Fault("tasks sent twice, shuffled", WORK, send_tasks),
)
