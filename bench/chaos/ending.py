"""The end: what was begun is waited for, and all that was acknowledged is accounted for."""

import time
from urllib.parse import urlencode

import msgspec
import psycopg

from bench.chaos.callers import FOUND
from bench.chaos.checks import ACTIVE, PENDING, embedded, note, scalar, whole, worked_on
from bench.chaos.ledger import AGEING
from bench.chaos.scene import Scene

POLL_SECONDS = 0.5
SAMPLE = 100
SURE = 0.98


def wait_until_done(scene: Scene, seconds: float) -> float:
    """Wait until nothing is pending and no job at work, for so long at most; how long it took."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        pending = scalar(scene.stage.database, PENDING)
        active = scalar(scene.stage.database, ACTIVE)
        if not pending and not active:
            break
        time.sleep(POLL_SECONDS)
    else:
        scene.ledger.note_wrong(f"{pending} messages pending, {active} jobs active in the end")
    return time.monotonic() - began


def account(scene: Scene) -> None:
    """Look into the store, and ask for some of what it holds by its meaning."""
    ledger = scene.ledger
    with psycopg.connect(scene.stage.database, autocommit=True) as connection:
        note(ledger, whole(connection, ledger.all_said()), "in the end")
        note(ledger, embedded(connection), "in the end")
        note(ledger, worked_on(connection, ledger.all_jobs()), "in the end")
    scene.stage.run(search_by_meaning(scene))


async def search_by_meaning(scene: Scene) -> None:
    """Some of the messages are found by their vectors alone."""
    said = scene.ledger.searchable
    for wanted in scene.numbers.sample(said, min(len(said), SAMPLE)):
        if wanted.tenant_id == AGEING or "poison" in wanted.content:
            continue
        asked = {"tenant_id": wanted.tenant_id, "query": wanted.content, "mode": "semantic"}
        target = f"/v1/memory/search?{urlencode(asked)}"
        answer = await scene.asker.insist("GET", target, expected=FOUND)
        items = msgspec.json.decode(answer.body)["items"]
        found = {item["message_id"]: item["similarity"] for item in items}
        if found.get(wanted.id, 0) < SURE:
            scene.ledger.note_wrong(f"not found by its meaning: {wanted}")
