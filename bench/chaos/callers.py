"""Callers that post single messages and batches, with and without keys, and search for them."""

import asyncio
import time
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import msgspec

from bench.chaos.asking import Asker
from bench.chaos.ledger import AGEING, TENANTS, Said
from bench.connection import Answer

STORED = frozenset({202})
CONFLICT = frozenset({422})
FOUND = frozenset({200})
SUBJECTS = ("the flight to Lisbon", "the code of the door", "what Anna likes", "the garden")
PAUSE_SECONDS = (0.05, 0.1, 0.2, 0.4)
BATCH_MOST = 12
WITH_KEY, AGAIN, OTHERWISE = 0.6, 0.15, 0.04


async def post_for_ever(asker: Asker) -> None:
    """Post single messages, each a little after the one before."""
    while True:
        await post(asker)
        await asyncio.sleep(asker.numbers.choice(PAUSE_SECONDS))


async def post_batches_for_ever(asker: Asker) -> None:
    """Post batches in the same way."""
    while True:
        await post_batch(asker)
        await asyncio.sleep(4 * asker.numbers.choice(PAUSE_SECONDS))


async def search_for_ever(asker: Asker) -> None:
    """Search for what was acknowledged, by a word that stands in nothing else."""
    while True:
        await search(asker)
        await asyncio.sleep(asker.numbers.choice(PAUSE_SECONDS))


def message(asker: Asker, tenant_id: str, more: str = "") -> dict[str, Any]:
    """A message like no other."""
    about = asker.numbers.choice(SUBJECTS)
    return {
        "tenant_id": tenant_id,
        "conversation_id": f"c-{asker.numbers.randrange(20)}",
        "role": asker.numbers.choice(("user", "assistant")),
        "content": asker.ledger.words(f"{more}is a word about {about}"),
    }


def any_tenant(asker: Asker) -> str:
    """A tenant, now and then the one whose messages are archived."""
    return asker.numbers.choice((*TENANTS, *TENANTS, AGEING))


async def post(asker: Asker, body: dict[str, Any] | None = None) -> str | None:
    """Post a message; its id, None when it came to nothing that we know of.

    Most have a key, and are posted again until they are answered.
    """
    body = body or message(asker, any_tenant(asker))
    if asker.numbers.random() > WITH_KEY:
        answer = await asker.ask("POST", "/v1/messages", body, expected=STORED)
        return acknowledge(asker, [body], answer)[0] if answer else None
    key = {"idempotency-key": str(uuid4())}
    answer = await asker.insist("POST", "/v1/messages", body, expected=STORED, headers=key)
    acknowledged = acknowledge(asker, [body], answer)
    await repeat(asker, "/v1/messages", body, key, acknowledged)
    return acknowledged[0]


async def post_batch(asker: Asker) -> None:
    """Post several messages of one tenant."""
    tenant_id = any_tenant(asker)
    count = asker.numbers.randint(2, BATCH_MOST)
    messages = [message(asker, tenant_id) for _ in range(count)]
    body = {"messages": messages}
    target = "/v1/messages/batch"
    if asker.numbers.random() > WITH_KEY:
        answer = await asker.ask("POST", target, body, expected=STORED)
        if answer:
            acknowledge(asker, messages, answer)
        return
    key = {"idempotency-key": str(uuid4())}
    answer = await asker.insist("POST", target, body, expected=STORED, headers=key)
    acknowledged = acknowledge(asker, messages, answer)
    await repeat(asker, target, body, key, acknowledged)


def acknowledge(asker: Asker, bodies: list[dict[str, Any]], answer: Answer) -> list[str]:
    """Note that the service has said it stores `bodies`; their ids."""
    stored = msgspec.json.decode(answer.body)
    items = stored.get("items", [stored])
    ids = [item["id"] for item in items]
    if len(ids) != len(bodies):
        asker.ledger.note_wrong(f"{len(ids)} messages were stored in place of {len(bodies)}")
    for body, id_ in zip(bodies, ids, strict=False):
        asker.ledger.acknowledge(Said(id_, body["tenant_id"], body["content"]))
    return ids


async def repeat(
    asker: Asker, target: str, body: dict[str, Any], key: dict[str, str], ids: list[str]
) -> None:
    """Now and then send the same once more, and something else with its key."""
    drawn = asker.numbers.random()
    if drawn < AGAIN:
        answer = await asker.ask("POST", target, body, expected=STORED, headers=key)
        if answer:
            again = msgspec.json.decode(answer.body)
            items = again.get("items", [again])
            if [item["id"] for item in items] != ids:
                asker.ledger.note_wrong(f"a key has stored twice: {ids[0]}")
            if answer.headers.get("idempotency-replayed") != "true":
                asker.ledger.note_wrong(f"a replay does not say so: {ids[0]}")
    elif drawn < AGAIN + OTHERWISE:
        tenant_id = (body["messages"][0] if "messages" in body else body)["tenant_id"]
        other = message(asker, tenant_id)
        other = {"messages": [other]} if "messages" in body else other
        await asker.ask("POST", target, other, expected=CONFLICT, headers=key)


async def search(asker: Asker) -> None:
    """Search for one message that was acknowledged; it must be among the answers."""
    if not asker.ledger.searchable:
        return
    wanted = asker.numbers.choice(asker.ledger.searchable)
    query = urlencode({"tenant_id": wanted.tenant_id, "query": wanted.content.split()[0]})
    began = time.monotonic()
    answer = await asker.ask("GET", f"/v1/memory/search?{query}", expected=FOUND)
    if answer is None:
        return
    found = msgspec.json.decode(answer.body)
    if wanted.id not in [item["message_id"] for item in found["items"]]:
        asker.ledger.note_wrong(f"a search did not find {wanted}: {answer.body[:300]!r}")
    excused = asker.windows.excuses(began, time.monotonic())
    if found["degraded"] and "degraded" not in excused:
        asker.ledger.note_wrong(f"a search without a cause: {found['degraded_reason']}")
