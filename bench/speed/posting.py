"""Posting messages, one by one and in batches."""

from collections.abc import Sequence

import msgspec

from bench.speed.client import MARK
from bench.speed.loading import Answered, http_request
from bench.speed.running import Api

TENANTS = [f"tenant-{number}" for number in range(8)]
CONVERSATIONS = 40
PATH = "/v1/messages"
NUMBER = "000000000"
BATCH = 100


def messages(texts: Sequence[str], mark: str) -> list[dict[str, str]]:
    """The texts as messages of several tenants, each with `mark` behind its first words."""
    found = []
    for place, text in enumerate(texts):
        first, _, rest = text.partition(" ")
        found.append(
            {
                "tenant_id": TENANTS[place % len(TENANTS)],
                "conversation_id": f"conversation-{place // len(TENANTS) % CONVERSATIONS}",
                "role": ("user", "assistant")[place // len(TENANTS) % 2],
                "content": f"{first} {mark} {rest}",
            }
        )
    return found


def requests(api: Api, texts: Sequence[str]) -> list[bytes]:
    """The requests that post them, one each; their numbers make each another text."""
    bodies = [msgspec.json.encode(each) for each in messages(texts, NUMBER)]
    marked = [body.replace(NUMBER.encode(), MARK, 1) for body in bodies]
    return [http_request(api.url, "POST", PATH, api.headers, body) for body in marked]


def post(api: Api, texts: Sequence[str], clients: int, seconds: float) -> Answered:
    """Post messages one by one, by so many clients."""
    return api.loader.send(requests(api, texts), clients, seconds)


def post_batches(api: Api, texts: Sequence[str], clients: int, seconds: float) -> Answered:
    """Post batches of `BATCH` messages, each of one tenant, by so many clients."""
    return api.loader.send(batches(api, texts), clients, seconds)


def batches(api: Api, texts: Sequence[str]) -> list[bytes]:
    """The requests that post the texts in batches; the number of one makes each text another."""
    made = []
    for place, start in enumerate(range(0, len(texts) - BATCH + 1, BATCH)):
        tenant = TENANTS[place % len(TENANTS)]
        of_one = messages(texts[start : start + BATCH], NUMBER)
        body = msgspec.json.encode({"messages": [{**each, "tenant_id": tenant} for each in of_one]})
        marked = body.replace(NUMBER.encode(), MARK)
        made.append(http_request(api.url, "POST", f"{PATH}/batch", api.headers, marked))
    return made
