"""Hits with the messages around them: bounded, merged, and none answered twice."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.answers import moment
from tests.api.speaking import Speaker, contents
from tests.conftest import message

START = datetime(2024, 1, 1, tzinfo=UTC)


def talk(said: str, conversation_id: str = "c-1") -> list[dict[str, Any]]:
    """A message a line, a minute apart; what begins with a star is said by a tool."""
    return [
        message(
            content=line.removeprefix("*"),
            role="tool" if line.startswith("*") else "user",
            conversation_id=conversation_id,
            created_at=(START + timedelta(minutes=minute)).isoformat(),
        )
        for minute, line in enumerate(said.splitlines())
    ]


def passage(hit: dict[str, Any]) -> list[str]:
    """All that is shown of `hit`, in its order."""
    return contents([*hit["before"], hit, *hit["after"]])


def shown(items: list[dict[str, Any]]) -> list[str]:
    """The ids of all that is shown in `items`."""
    near = [near["message_id"] for item in items for near in item["before"] + item["after"]]
    return near + [item["message_id"] for item in items]


def test_the_neighbours_of_a_hit_come_in_the_order_of_their_time(speaker: Speaker) -> None:
    lines = talk("zero\none\ntwo\n*zeppelin\nfour\nfive\nsix")
    speaker.say_all([lines[place] for place in (5, 0, 3, 6, 1, 4, 2)])
    # A filter holds for what is found, not for what stands around it.
    (hit,) = speaker.finds("zeppelin", role="tool", context=2)
    assert passage(hit) == ["one", "two", "zeppelin", "four", "five"]
    assert contents(hit["before"]) == ["one", "two"]
    times = [moment(near["created_at"]) for near in hit["before"] + hit["after"]]
    assert times == [START + timedelta(minutes=minute) for minute in (1, 2, 4, 5)]
    assert set(hit["before"][0]) == {"message_id", "role", "content", "created_at"}


def test_messages_of_one_moment_come_in_the_order_of_their_ids(speaker: Speaker) -> None:
    said = [message(content=f"zeppelin{n}", created_at=START.isoformat()) for n in range(6)]
    ids = speaker.say_all(said)
    (hit,) = speaker.finds("zeppelin3", mode="lexical", top_k=1, context=1)
    near = [hit["before"][0]["message_id"], hit["message_id"], hit["after"][0]["message_id"]]
    place = sorted(ids).index(hit["message_id"])
    assert near == sorted(ids)[place - 1 : place + 2]


def test_neighbours_are_of_the_same_conversation_and_tenant(shared: httpx.Client) -> None:
    ours, theirs = Speaker(shared), Speaker(shared)
    for speaker in (ours, theirs):
        speaker.say_all(talk("apple\nzeppelin\npear", "fruit"))
        speaker.say_all(talk("red\ngreen\nblue", "colours"))
    (hit,) = ours.finds("zeppelin", top_k=1, context=10)
    assert passage(hit) == ["apple", "zeppelin", "pear"]
    assert hit["conversation_id"] == "fruit"
    own = {item["message_id"] for item in ours.finds("zeppelin", top_k=100)}
    assert set(shown([hit])) <= own


@pytest.mark.parametrize("context", [1, 3, 10])
def test_a_conversation_bounds_its_passages(speaker: Speaker, context: int) -> None:
    speaker.say_all(talk("*zeppelin\none\ntwo\nthree"))
    (hit,) = speaker.finds("zeppelin", role="tool", context=context)
    assert hit["before"] == []
    assert contents(hit["after"]) == ["one", "two", "three"][:context]


def test_without_context_there_are_no_neighbours(speaker: Speaker) -> None:
    speaker.say_all(talk("one\nzeppelin\ntwo"))
    for parameters in ({}, {"context": 0}, {"context": 0, "explain": True}):
        for hit in speaker.finds("zeppelin", **parameters):
            assert "before" not in hit
            assert "after" not in hit


def test_hits_that_stand_together_are_one_passage(speaker: Speaker) -> None:
    speaker.say_all(talk("zero\nzeppelin\ntwo\nthree\na zeppelin, an airship\nfive\nsix\nseven"))
    alone = {item["content"]: item["score"] for item in speaker.finds("zeppelin", top_k=100)}
    (hit, *others) = speaker.finds("zeppelin", top_k=1, context=2)
    assert others == []
    assert hit["content"] == "zeppelin"
    assert passage(hit)[:5] == ["zero", "zeppelin", "two", "three", "a zeppelin, an airship"]
    scores = {near["content"]: near["score"] for near in hit["after"] if "score" in near}
    assert scores["a zeppelin, an airship"] == pytest.approx(alone["a zeppelin, an airship"])
    assert hit["score"] == pytest.approx(alone["zeppelin"])
    assert hit["score"] > max(scores.values())


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "lexical"])
@pytest.mark.parametrize("context", [1, 2, 10])
def test_no_message_is_answered_twice(speaker: Speaker, mode: str, context: int) -> None:
    for conversation in range(6):
        lines = "\n".join("zeppelin" if n % 5 == 0 else f"line {n}" for n in range(25))
        speaker.say_all(talk(lines, f"c-{conversation}"))
    items = speaker.finds("zeppelin", mode=mode, top_k=20, context=context)
    ids = shown(items)
    assert len(ids) == len(set(ids))
    for item in items:
        times = [moment(near["created_at"]) for near in [*item["before"], item, *item["after"]]]
        assert times == sorted(times)
    scores = [item["score"] for item in items]
    assert scores == sorted(scores, reverse=True)


def test_merged_hits_leave_their_place_to_others(speaker: Speaker) -> None:
    speaker.say_all(talk("\n".join(["zeppelin zeppelin"] * 40)))
    for number in range(3):
        content = f"much is said of a zeppelin by {number} people in a sentence"
        speaker.say(content, conversation_id=f"far-{number}")
    items = speaker.finds("zeppelin", mode="lexical", top_k=4, context=10)
    assert len(items) == 4
    assert {item["conversation_id"] for item in items} == {"c-1", "far-0", "far-1", "far-2"}


def test_two_passages_that_a_third_hit_joins_are_one(speaker: Speaker) -> None:
    speaker.say_all(talk("zeppelin\none\ntwo\nan airship, a zeppelin\nthree\nfour\nzeppelin"))
    items = speaker.finds("zeppelin", mode="lexical", top_k=5, context=2)
    assert len(items) == 1
    assert len(passage(items[0])) == 7
    assert len(set(shown(items))) == 7


def test_a_hit_with_context_has_its_explanation(speaker: Speaker) -> None:
    speaker.say_all(talk("one\nzeppelin\ntwo"))
    (hit,) = speaker.finds("zeppelin", top_k=1, context=1, explain=True)
    assert hit["explanation"]["terms"] == ["zeppelin"]
    assert passage(hit) == ["one", "zeppelin", "two"]
