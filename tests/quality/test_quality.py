"""Search finds what our own conversations are asked about, in three languages.

The floors lie a little below what was measured when they were set, so that they fail when search
gets worse and not when a library rounds otherwise.
"""

from collections.abc import Iterator, Set
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec
import pytest

from memory.settings import Provider, Settings
from tests.conftest import serving
from tests.quality.conversations import Conversation, Question, read_conversations

CONVERSATIONS = read_conversations(Path(__file__).parent / "conversations.json")
FLOORS = {
    "english": {"hit@1": 0.31, "hit@3": 0.53, "hit@10": 0.75, "hit@3 context=2": 0.90},
    "german": {"hit@1": 0.19, "hit@3": 0.46, "hit@10": 0.76, "hit@3 context=2": 0.84},
    "spanish": {"hit@1": 0.31, "hit@3": 0.51, "hit@10": 0.74, "hit@3 context=2": 0.86},
}


class Asked(NamedTuple):
    """A question, and the turns of each item that was answered, best first."""

    question: Question
    items: list[Set[str]]

    def hit(self, k: int) -> bool:
        """Whether one of the first `k` items holds the answer."""
        gold = set(self.question.evidence)
        return any(item & gold for item in self.items[:k])


@pytest.fixture(scope="module")
def provider() -> Provider:
    return "onnx"


@pytest.fixture
def client(settings: Settings) -> Iterator[httpx.Client]:
    inline = msgspec.structs.replace(settings, async_embeddings=False, redis_url="")
    with serving(inline) as client:
        yield client


def post(client: httpx.Client, conversation: Conversation) -> dict[str, str]:
    """Store all turns; gives the turn of each message."""
    path = f"/v1/admin/tenants/{conversation.name}/settings"
    assert client.put(path, json={"language": conversation.language}).status_code == 200
    messages = [
        {
            "tenant_id": conversation.name,
            "conversation_id": turn.session,
            "role": turn.role,
            "content": turn.content,
            "created_at": turn.created_at.isoformat(),
        }
        for turn in conversation.turns
    ]
    stored = client.post("/v1/messages/batch", json={"messages": messages}).json()["items"]
    turns = zip(stored, conversation.turns, strict=True)
    return {message["id"]: turn.id for message, turn in turns}


def ask(
    client: httpx.Client, conversation: Conversation, turn_of: dict[str, str], context: int
) -> list[Asked]:
    """What each question of the conversation is answered with."""
    asked = []
    for start in range(0, len(conversation.questions), 32):
        questions = conversation.questions[start : start + 32]
        body = {
            "tenant_id": conversation.name,
            "queries": [question.text for question in questions],
            "top_k": 10,
            "context": context,
        }
        answers = client.post("/v1/memory/search", json=body).json()["results"]
        for question, answer in zip(questions, answers, strict=True):
            items = [
                {turn_of[near["message_id"]] for near in [item, *around(item)]}
                for item in answer["items"]
            ]
            asked.append(Asked(question, items))
    return asked


def around(item: dict[str, list[dict[str, str]]]) -> list[dict[str, str]]:
    """The messages beside a hit."""
    return item.get("before", []) + item.get("after", [])


def share(asked: list[Asked], k: int) -> float:
    """hit@k."""
    return sum(each.hit(k) for each in asked) / len(asked)


@pytest.mark.parametrize("conversation", CONVERSATIONS, ids=lambda each: each.language)
def test_the_right_turn_comes_back(client: httpx.Client, conversation: Conversation) -> None:
    turn_of = post(client, conversation)
    asked = ask(client, conversation, turn_of, context=0)
    figures = {f"hit@{k}": share(asked, k) for k in (1, 3, 10)}
    figures["hit@3 context=2"] = share(ask(client, conversation, turn_of, context=2), 3)
    floors = FLOORS[conversation.language]
    assert {name: value for name, value in figures.items() if value < floors[name]} == {}
    named = [each for each in asked if each.question.category == "name-or-code"]
    assert [each.question.text for each in named if not each.hit(3)] == []
