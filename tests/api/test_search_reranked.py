"""Reranking: what it does to the order, and where it is not set up."""

import msgspec
import pytest

from memory.settings import Settings
from tests.api.answers import assert_problem
from tests.api.speaking import Speaker, contents
from tests.api.test_search_degraded import asking
from tests.conftest import message, serving
from tests.memory.embedding import fake_api

# To the mean of its words the query is nearest; each of its words stands in the other.
NEAR = "red fox red fox red fox car"
WHOLE = "the quick red fox jumps over one very lazy old dog and its car by the river"


def say(speaker: Speaker) -> None:
    for number, content in enumerate((NEAR, WHOLE, "nothing of the kind")):
        speaker.say(content, conversation_id=str(number))


def test_late_interaction_reads_word_by_word(speaker: Speaker) -> None:
    say(speaker)
    asked = {"query": "red fox dog river", "explain": True}
    plain = {item["content"]: item for item in speaker.finds(**asked)}
    ranked = speaker.finds(**asked, rerank="late_interaction")
    assert contents(ranked)[0] == WHOLE
    for item in ranked:
        told, before = item["explanation"], plain[item["content"]]["explanation"]
        assert before["rerank"] is None
        assert 0 <= told["rerank"] <= 1
        blended = 0.5 * before["relevance"] + 0.5 * told["rerank"]
        assert told["relevance"] == pytest.approx(blended, abs=1e-6)
        total = sum(told[part] * told["weights"][part] for part in told["weights"])
        assert item["score"] == pytest.approx(total, abs=1e-9)
    # Each word of the query stands in it.
    assert ranked[0]["explanation"]["rerank"] == pytest.approx(1, abs=1e-3)
    scores = [item["score"] for item in ranked]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("mode", ["semantic", "lexical"])
def test_it_goes_with_every_mode(speaker: Speaker, mode: str) -> None:
    say(speaker)
    answer = speaker.answer("red fox dog river", mode=mode, rerank="late_interaction", context=1)
    assert contents(answer["items"])[0] == WHOLE
    assert not answer["degraded"]


def test_it_reads_what_was_said_before(speaker: Speaker) -> None:
    speaker.say_all([message(content="Which fruit do you like?"), message(content="apples")])
    found = speaker.finds("fruit apples", explain=True, rerank="late_interaction")
    scores = {item["content"]: item["explanation"]["rerank"] for item in found}
    alone = Speaker(speaker.api)
    alone.say("apples")
    (without,) = alone.finds("fruit apples", explain=True, rerank="late_interaction")
    assert scores["apples"] > without["explanation"]["rerank"] + 0.1


def test_candidates_beyond_those_that_are_read_stay_behind(speaker: Speaker) -> None:
    said = [message(content=f"fox number{n}", conversation_id=str(n)) for n in range(40)]
    speaker.say_all(said)
    items = speaker.finds("fox", top_k=40, explain=True, rerank="late_interaction")
    read = [item["explanation"]["rerank"] is not None for item in items]
    assert read == [True] * 20 + [False] * 20


def test_nothing_found_is_nothing_to_rerank(speaker: Speaker) -> None:
    assert speaker.finds("fox", rerank="late_interaction") == []


def test_a_reranker_that_is_not_set_up_is_named(speaker: Speaker) -> None:
    problem = assert_problem(
        speaker.get("fox", rerank="cross_encoder"), 400, "invalid-request", "rerank"
    )
    assert "MEMORY_RERANKER_MODEL_NAME" in problem["detail"]
    assert_problem(speaker.post(query="fox", rerank="cross_encoder"), 400, "invalid-request")


def test_a_provider_without_vectors_of_words_has_no_late_interaction(settings: Settings) -> None:
    with fake_api.serving() as fake, serving(asking(settings, fake.url)) as api:
        answer = Speaker(api).get("fox", rerank="late_interaction")
        assert_problem(answer, 400, "invalid-request", "rerank")


def test_the_deployments_reranker_works_unless_told_not_to(inline_settings: Settings) -> None:
    reranked = msgspec.structs.replace(inline_settings, reranker="late_interaction")
    with serving(reranked) as api:
        speaker = Speaker(api)
        speaker.say("red fox")
        (hit,) = speaker.finds("fox", explain=True)
        assert hit["explanation"]["rerank"] is not None
        (hit,) = speaker.finds("fox", explain=True, rerank="none")
        assert hit["explanation"]["rerank"] is None
