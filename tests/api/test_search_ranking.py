"""Scores: what they are the sum of, what explains them, and what the parts count for."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from memory.settings import Settings
from tests.api.answers import moment
from tests.api.speaking import Speaker, contents
from tests.conftest import message, serving

DAY = timedelta(days=1)
TALK = [
    message(content="Do you like honey?", conversation_id="a"),
    message(content="I do, on bread.", conversation_id="a", role="assistant"),
    message(content="Honey is made by bees.", conversation_id="b", importance_override=0.9),
    message(content="Bees and more bees.", conversation_id="c", importance_override=0),
    message(content="The train is late.", conversation_id="d", importance_override=1),
]


def ago(days: float) -> str:
    return (datetime.now(UTC) - days * DAY).isoformat()


@pytest.fixture(scope="module")
def talker(shared: httpx.Client) -> Speaker:
    speaker = Speaker(shared)
    for day, said in enumerate(TALK):
        speaker.say_all([{**said, "created_at": ago(100 - 10 * day)}])
    return speaker


def explained(speaker: Speaker, query: str, **parameters: Any) -> dict[str, dict[str, Any]]:
    """The explanations by what was said."""
    items = speaker.finds(query, explain=True, **parameters)
    return {item["content"]: item["explanation"] for item in items}


def weights(relevance: float, importance: float, recency: float) -> dict[str, Any]:
    """Weights as an explanation has them."""
    return {
        "relevance": pytest.approx(relevance),
        "importance": pytest.approx(importance),
        "recency": pytest.approx(recency),
    }


@pytest.mark.parametrize("query", ["honey bees", "late honey", "bread", "something else"])
def test_the_semantic_score_is_exactly_the_old_sum(talker: Speaker, query: str) -> None:
    items = talker.finds(query, mode="semantic", explain=True)
    assert len(items) == len(TALK)
    for item in items:
        expected = 0.7 * item["similarity"] + 0.3 * item["importance"]
        assert item["score"] == pytest.approx(expected, abs=1e-9)
        assert item["explanation"]["weights"] == weights(0.7, 0.3, 0)
        assert item["explanation"]["lexical"] is None
        assert item["explanation"]["found_by"] == ["semantic"]


@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
@pytest.mark.parametrize("query", ["honey bees", "late honey bees", "bread", "something else"])
def test_a_score_is_the_sum_that_its_explanation_gives(
    talker: Speaker, mode: str, query: str
) -> None:
    asked_at = datetime.now(UTC)
    for item in talker.finds(query, mode=mode, explain=True):
        told = item["explanation"]
        lexical, similarity = told["lexical"] or 0, told["similarity"]
        fused = lexical if mode == "lexical" else 0.3 * similarity + 0.7 * lexical
        assert told["relevance"] == pytest.approx(fused, abs=1e-9)
        age = (asked_at - moment(item["created_at"])) / DAY
        assert told["recency"] == pytest.approx(0.5 ** (age / 30), rel=1e-4)
        assert told["weights"] == weights(0.93, 0.05, 0.02)
        total = sum(told[part] * told["weights"][part] for part in told["weights"])
        assert item["score"] == pytest.approx(total, abs=1e-9)
        for part in ("relevance", "importance", "recency"):
            assert item[part] == told[part]
        assert item["similarity"] == (similarity or 0)
        assert (told["bm25"] is None) == (told["lexical"] is None)


def test_the_words_are_worth_what_bm25_says(speaker: Speaker) -> None:
    said = ["bees", "bees eat honey daily", "wax", "pollen travels"]
    for number, content in enumerate(said):
        speaker.say(content, conversation_id=str(number))
    mean = (1 + 4 + 1 + 2) / 4
    found = explained(speaker, "bees")
    for content, length in (("bees", 1), ("bees eat honey daily", 4)):
        idf = math.log(1 + (4 - 2 + 0.5) / (2 + 0.5))
        bm25 = idf * 2.2 / (1 + 1.2 * (0.25 + 0.75 * length / mean))
        assert found[content]["bm25"] == pytest.approx(bm25, rel=1e-4)
        rarest = math.log(1 + (4 - 1 + 0.5) / (1 + 0.5))
        assert found[content]["lexical"] == pytest.approx(bm25 / (bm25 + 1.7 * rarest), rel=1e-4)
    assert found["wax"]["bm25"] is None


def test_an_explanation_tells_the_legs_and_the_words(talker: Speaker) -> None:
    found = explained(talker, "Do bees make HONEY in bulk?")
    assert found["Honey is made by bees."]["terms"] == ["bees", "honey"]
    assert found["Bees and more bees."]["terms"] == ["bees"]
    assert found["Do you like honey?"]["found_by"] == ["semantic", "lexical"]
    # Its own words are others: those of the question before it have found it.
    assert found["I do, on bread."]["terms"] == ["honey"]
    assert found["I do, on bread."]["found_by"] == ["semantic", "lexical"]
    assert found["I do, on bread."]["lexical"] < found["Do you like honey?"]["lexical"]
    late = found["The train is late."]
    assert (late["terms"], late["found_by"], late["lexical"]) == ([], ["semantic"], None)
    assert all(told["rerank"] is None for told in found.values())


def test_there_is_no_explanation_unless_asked_for(talker: Speaker) -> None:
    assert all("explanation" not in item for item in talker.finds("honey"))


def test_a_rare_word_outweighs_a_common_one(speaker: Speaker) -> None:
    for number in range(30):
        speaker.say(f"the honey number {number}", conversation_id=str(number))
    rare = speaker.say("the zeppelin number x", conversation_id="rare")
    first = speaker.finds("honey zeppelin", mode="lexical")[0]
    assert first["message_id"] == rare


def test_what_lies_in_the_future_is_as_recent_as_now(speaker: Speaker) -> None:
    speaker.say("bees", created_at=ago(-400))
    assert speaker.finds("bees")[0]["recency"] == 1


def test_weights_of_the_request_order_the_answer(talker: Speaker) -> None:
    def order(**asked: float) -> list[str]:
        zeros = {"w_relevance": 0, "w_importance": 0, "w_recency": 0}
        return contents(talker.finds("honey", **zeros | asked))

    by_importance = order(w_importance=5)
    assert by_importance[:2] == ["The train is late.", "Honey is made by bees."]
    assert by_importance[-1] == "Bees and more bees."
    assert order(w_recency=0.1) == [said["content"] for said in reversed(TALK)]
    assert order(w_relevance=1)[0] == "Do you like honey?"


def test_the_request_outweighs_the_tenant_and_the_tenant_the_deployment(
    inline_settings: Settings,
) -> None:
    deployment = msgspec.structs.replace(
        inline_settings, w_relevance=2, w_importance=1, w_recency=1, half_life_days=10
    )
    with serving(deployment) as api:
        speaker, other = Speaker(api, "acme"), Speaker(api, "globex")
        for each in (speaker, other):
            each.say("bees", created_at=ago(20))

        def figures(each: Speaker, **asked: float) -> tuple[Any, float]:
            told = explained(each, "bees", **asked)["bees"]
            return told["weights"], pytest.approx(told["recency"], rel=1e-4)

        assert figures(speaker) == (weights(0.5, 0.25, 0.25), 0.25)
        own = {"w_importance": 2, "half_life_days": 20}
        assert api.put("/v1/admin/tenants/acme/settings", json=own).status_code == 200
        assert figures(speaker) == (weights(0.4, 0.4, 0.2), 0.5)
        assert figures(speaker, w_recency=6, half_life_days=40) == (
            weights(0.2, 0.2, 0.6),
            0.5**0.5,
        )
        assert figures(speaker, w_importance=0) == (weights(2 / 3, 0, 1 / 3), 0.5)
        assert figures(other) == (weights(0.5, 0.25, 0.25), 0.25)
        semantic = explained(speaker, "bees", mode="semantic")["bees"]
        assert semantic["weights"] == weights(0.7, 0.3, 0)


@hypothesis_settings(max_examples=30, deadline=None)
@given(
    query=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60),
    asked=st.tuples(*[st.floats(0, 1000)] * 2, st.floats(0.001, 1000)),
    mode=st.sampled_from(["hybrid", "lexical"]),
)
def test_every_figure_lies_between_0_and_1(
    talker: Speaker, query: str, asked: tuple[float, float, float], mode: str
) -> None:
    names = ("w_relevance", "w_importance", "w_recency")
    items = talker.finds(query, mode=mode, **dict(zip(names, asked, strict=True)))
    for item in items:
        for figure in ("score", "similarity", "relevance", "importance", "recency"):
            assert 0 <= item[figure] <= 1 + 1e-12, (figure, item)
    scores = [item["score"] for item in items]
    assert scores == sorted(scores, reverse=True)
