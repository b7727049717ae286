"""Filters: each of them, and all together, for what is found by words and by meaning."""

from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, text

from tests.api.answers import moment
from tests.api.speaking import Speaker, contents
from tests.conftest import message

MODES = ["hybrid", "semantic", "lexical"]
SAID = [
    message(
        content="bees a",
        conversation_id="one",
        role="user",
        importance_override=0.2,
        created_at="2024-01-01T00:00:00Z",
        metadata={"channel": "web", "user": {"id": 5, "vip": True}, "tags": ["x", "y"]},
    ),
    message(
        content="bees b",
        conversation_id="two / 2 ü",
        role="assistant",
        importance_override=0.5,
        created_at="2024-02-01T00:00:00Z",
        metadata={"channel": "app", "user": {"id": "5"}, "web": "channel", "null": None},
    ),
    message(
        content="bees c",
        conversation_id="three",
        role="system",
        importance_override=0.8,
        created_at="2024-03-01T00:00:00Z",
        metadata={"channel": "web", "user": {"id": 6}, "part": [{"n": 1.0}, {"n": 2}]},
    ),
    message(
        content="bees d",
        conversation_id="three",
        role="tool",
        importance_override=0.9,
        created_at="2024-04-01T00:00:00Z",
    ),
    message(content="no such insect", conversation_id="one", metadata={"channel": "mail"}),
]

BY_URL: list[tuple[dict[str, Any], str]] = [
    ({"conversation_id": "three"}, "cd"),
    ({"conversation_id": "two / 2 ü"}, "b"),
    ({"conversation_id": "nowhere"}, ""),
    ({"role": "user"}, "a"),
    ({"role": ["assistant", "tool"]}, "bd"),
    ({"role": ["user", "assistant", "system", "tool"]}, "abcd"),
    ({"importance_min": 0}, "abcd"),
    ({"importance_min": 0.5}, "bcd"),
    ({"importance_min": 1}, ""),
    ({"created_after": "2024-02-01T00:00:00Z"}, "bcd"),
    ({"created_after": "2024-02-01T01:00:00.000001+01:00"}, "cd"),
    ({"created_before": "2024-03-01T00:00:00Z"}, "ab"),
    ({"created_before": "2024-03-01T00:00:00.000001Z"}, "abc"),
    ({"created_after": "2024-01-15T00:00:00Z", "created_before": "2024-03-15T00:00:00Z"}, "bc"),
    ({"created_after": "2024-03-15T00:00:00Z", "created_before": "2024-01-15T00:00:00Z"}, ""),
    ({"metadata.channel": "web"}, "ac"),
    ({"metadata.web": "channel"}, "b"),
    ({"metadata.channel": "Web"}, ""),
    ({"metadata.user.id": 5}, "a"),
    ({"metadata.user.id": "5.0"}, "a"),
    ({"metadata.user.id": '"5"'}, "b"),
    ({"metadata.user.vip": "true"}, "a"),
    ({"metadata.null": "null"}, "b"),
    ({"metadata.nothing": "null"}, ""),
    ({"metadata.user": "5"}, ""),
    ({"metadata.channel": "web", "metadata.user.id": "6"}, "c"),
    ({"metadata.channel": "web", "role": "user", "importance_min": 0.3}, ""),
    (
        {
            "conversation_id": "three",
            "role": ["system", "tool"],
            "importance_min": 0.7,
            "created_after": "2024-02-15T00:00:00Z",
            "created_before": "2024-03-15T00:00:00Z",
            "metadata.channel": "web",
            "metadata.user.id": "6",
            "include_archived": "true",
        },
        "c",
    ),
]
BY_BODY: list[tuple[dict[str, Any], str]] = [
    ({"role": "tool"}, "d"),
    ({"role": ["user", "tool"]}, "ad"),
    ({"role": []}, ""),
    ({"metadata": {}}, "abcd"),
    ({"metadata": {"user": {"id": 5}}}, "a"),
    ({"metadata": {"user": {}}}, "abc"),
    ({"metadata": {"tags": ["y"]}}, "a"),
    ({"metadata": {"tags": ["y", "x", "x"]}}, "a"),
    ({"metadata": {"tags": ["z"]}}, ""),
    ({"metadata": {"tags": []}}, "a"),
    ({"metadata": {"part": [{"n": 2.0}]}}, "c"),
    ({"metadata": {"part": [{"n": 1}], "channel": "web", "user": {"id": 6}}}, "c"),
    ({"metadata": {"null": None}}, "b"),
    ({"conversation_id": None, "role": None, "metadata": None}, "abcd"),
]


@pytest.fixture(scope="module")
def beekeeper(shared: httpx.Client) -> Speaker:
    """A tenant that has said all that."""
    speaker = Speaker(shared)
    speaker.say_all(SAID)
    return speaker


def letters(items: list[dict[str, Any]]) -> str:
    """Which of the messages about bees are among `items`."""
    return "".join(sorted(said[-1] for said in contents(items) if said.startswith("bees")))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("filters", "expected"), BY_URL)
def test_a_filter_of_the_url(
    beekeeper: Speaker, mode: str, filters: dict[str, Any], expected: str
) -> None:
    assert letters(beekeeper.finds("bees", mode=mode, **filters)) == expected


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("filters", "expected"), BY_BODY)
def test_a_filter_of_the_body(
    beekeeper: Speaker, mode: str, filters: dict[str, Any], expected: str
) -> None:
    answer = beekeeper.post(query="bees", mode=mode, **filters)
    assert answer.status_code == 200, answer.text
    assert letters(answer.json()["items"]) == expected


def test_the_answer_says_which_filters_held(beekeeper: Speaker) -> None:
    filters = {"importance_min": 0.1, "include_archived": "true", "metadata.user.id": "6"}
    scope = beekeeper.answer("bees", created_after="2024-01-01T01:00:00+01:00", **filters)["scope"]
    assert datetime.fromisoformat(scope.pop("created_after")) == datetime(2024, 1, 1, tzinfo=UTC)
    assert scope == {
        "tenant_id": beekeeper.tenant_id,
        "importance_min": 0.1,
        "include_archived": True,
        "metadata": {"user": {"id": 6}},
    }


@pytest.mark.parametrize("mode", MODES)
def test_what_is_archived_is_shown_only_when_asked_for(
    inline: httpx.Client, owner: Connection, mode: str
) -> None:
    speaker = Speaker(inline, "acme")
    archived, _ = speaker.say("old bees"), speaker.say("new bees")
    owner.execute(
        text("update messages set archived_at = now() where id = cast(:id as uuid)"),
        {"id": archived},
    )
    assert contents(speaker.finds("bees", mode=mode)) == ["new bees"]
    both = speaker.finds("bees", mode=mode, include_archived=True)
    assert set(contents(both)) == {"old bees", "new bees"}
    (hit,) = speaker.finds("new bees", mode=mode, context=1)
    assert hit["before"] == []
    shown = speaker.finds("new bees", mode=mode, context=1, include_archived=True)[0]
    assert contents([*shown["before"], shown]) == ["old bees", "new bees"]


@pytest.mark.parametrize("mode", MODES)
def test_filters_find_what_is_far_down(speaker: Speaker, mode: str) -> None:
    near = [message(content="bees bees", conversation_id="near") for _ in range(200)]
    speaker.say_all(near)
    far = "bees stand at the end of what is a long story about something else"
    speaker.say(far, conversation_id="far", importance_override=0.9, metadata={"far": 1})
    for filters in (
        {"conversation_id": "far"},
        {"importance_min": 0.9},
        {"metadata.far": 1},
    ):
        assert contents(speaker.finds("bees bees", mode=mode, **filters)) == [far], filters


def test_times_are_answered_in_utc(beekeeper: Speaker) -> None:
    (hit,) = beekeeper.finds("bees", conversation_id="two / 2 ü")
    assert moment(hit["created_at"]) == datetime(2024, 2, 1, tzinfo=UTC)
