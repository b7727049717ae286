from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.embedding.mock import MockEmbedder
from memory.embedding.onnx import OnnxEmbedder
from memory.embedding.protocol import Purpose, Vectors
from memory.rerank.late_interaction import LateInteractionReranker

QUERY = "Where did Caroline go on holiday?"
TEXTS = [
    "Caroline: My holiday in Norway was wonderful, we went to the fjords.",
    "Caroline: I like holidays.",
    "Melanie: The invoice for the printer is overdue again.",
]


class CountingEmbedder(MockEmbedder):
    """Notes what it was asked to embed."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[Purpose, list[str]]] = []

    def embed_tokens(self, texts: Sequence[str], purpose: Purpose = "document") -> list[Vectors]:
        self.asked.append((purpose, list(texts)))
        return super().embed_tokens(texts, purpose)


def test_the_message_that_answers_comes_first(late: LateInteractionReranker) -> None:
    answers, touches, unrelated = late.scores(QUERY, TEXTS)
    assert answers > touches > unrelated
    assert unrelated < 0.1


def test_a_score_is_the_mean_of_the_best_cosines_above_that_of_strangers(
    minilm: OnnxEmbedder, late: LateInteractionReranker
) -> None:
    (asked,) = minilm.embed_tokens([QUERY])
    for text, score in zip(TEXTS, late.scores(QUERY, TEXTS), strict=True):
        (words,) = minilm.embed_tokens([text])
        mean = np.mean([max(float(a @ b) for b in words) for a in asked])
        assert score == pytest.approx(max(0.0, (mean - 0.25) / 0.75), abs=1e-3)


def test_the_query_itself_is_worth_one(late: LateInteractionReranker) -> None:
    assert late.scores(QUERY, [QUERY]) == [pytest.approx(1.0, abs=1e-3)]


def test_what_was_said_before_helps_a_short_answer(late: LateInteractionReranker) -> None:
    answer = "Yes, to Rome, with the kids."
    alone, after = late.scores(QUERY, [answer, answer], ["", "Caroline, your holiday: did you go?"])
    assert after > alone + 0.1


def test_a_match_in_the_context_counts_less_than_one_in_the_text(
    late: LateInteractionReranker,
) -> None:
    as_text, as_context = late.scores(QUERY, [QUERY, "ok"], ["", QUERY])
    assert as_context == pytest.approx((0.8 - 0.25) / 0.75, abs=2e-3)
    assert as_text == pytest.approx(1.0, abs=1e-3)
    # A context takes nothing away either.
    assert late.scores(QUERY, TEXTS, ["unrelated"] * 3)[0] >= late.scores(QUERY, TEXTS)[0]


@pytest.mark.parametrize(
    "odd",
    ["", " \n", "???", "\0", "\udc80", "🐈", "👩‍👩‍👧‍👦" * 50, "字", "नमस्ते", "x" * 9000, "w " * 900],
    ids=["empty", "blank", "marks", "NUL", "surrogate", "cat", "family", "Han", "Hindi", "x", "w"],
)
def test_any_text_and_any_query_have_a_score(late: LateInteractionReranker, odd: str) -> None:
    for query, text, context in [(odd, "word", ""), ("word", odd, odd), (odd, odd, "word")]:
        first, second = late.scores(query, [text, "word"], [context, odd])
        assert 0 <= first <= 1
        assert 0 <= second <= 1
    if any(letter.isalnum() for letter in odd):
        assert late.scores(odd, [odd])[0] == pytest.approx(1.0, abs=1e-3)


def test_without_words_there_is_nothing_to_match(late: LateInteractionReranker) -> None:
    assert late.scores("?!", ["?!", "word"]) == [0.0, 0.0]
    assert late.scores("word", ["", "?!"]) == [0.0, 0.0]
    assert late.scores("word", []) == []


def test_what_is_beyond_the_window_is_not_read(late: LateInteractionReranker) -> None:
    filler = "lorem ipsum " * 150
    assert late.scores(QUERY, [filler + QUERY]) == late.scores(QUERY, [filler + "and no more"])


words = st.text(alphabet="abc d\ud800é字🐈?", max_size=12)


@given(words, st.lists(st.tuples(words, words), min_size=1, max_size=8))
def test_a_score_is_of_its_text_alone_and_in_bounds(
    query: str, pairs: list[tuple[str, str]]
) -> None:
    late = LateInteractionReranker(MockEmbedder(16), cache_bytes=2_000)
    texts, contexts = zip(*pairs, strict=True)
    scores = late.scores(query, texts, contexts)
    assert all(0 <= score <= 1 for score in scores)
    alone = [late.scores(query, [text], [context])[0] for text, context in pairs]
    assert scores == pytest.approx(alone, abs=1e-5)
    turned = late.scores(query, texts[::-1], contexts[::-1])
    assert turned[::-1] == pytest.approx(scores, abs=1e-5)


def test_its_name_is_the_same_in_every_process() -> None:
    assert repr(LateInteractionReranker(MockEmbedder())) == "LateInteractionReranker()"


def test_a_word_that_nothing_is_like_counts_nothing_not_less() -> None:
    embedder = MockEmbedder(4)
    asked = embedder.embed_tokens(["red boat"])[0]
    unlike = next(
        word
        for word in map(str, range(100))
        if asked[0] @ embedder.embed_tokens([word])[0][0] < -0.5
    )
    (score,) = LateInteractionReranker(embedder).scores("red boat", [f"boat {unlike}"])
    (words,) = embedder.embed_tokens([f"boat {unlike}"])
    best = max(0.0, float((words @ asked[0]).max()))
    assert score == pytest.approx(max(0.0, ((best + 1) / 2 - 0.25) / 0.75), abs=1e-3)


def test_shared_words_raise_a_score() -> None:
    late = LateInteractionReranker(MockEmbedder())
    assert late.scores("red boat", ["a red boat", "a red car", "tax"]) == [
        pytest.approx(1.0, abs=1e-3),
        pytest.approx((0.5 - 0.25) / 0.75, abs=0.1),
        0.0,
    ]


def test_a_text_is_embedded_once_and_with_its_like() -> None:
    embedder = CountingEmbedder()
    late = LateInteractionReranker(embedder)
    embedder.asked.clear()
    first = late.scores("a", ["a b", "c", "a b"], ["c", "", "d"])
    assert embedder.asked == [("query", ["a"]), ("document", ["a b", "c", "", "d"])]
    embedder.asked.clear()
    assert late.scores("a", ["a b", "c", "a b"], ["c", "", "d"]) == first
    assert embedder.asked == [("query", ["a"])]


def test_a_cache_without_room_changes_no_score(minilm: OnnxEmbedder) -> None:
    none, ample = LateInteractionReranker(minilm, 0), LateInteractionReranker(minilm)
    assert none.scores(QUERY, TEXTS) == ample.scores(QUERY, TEXTS) == ample.scores(QUERY, TEXTS)


def test_several_threads_get_their_own_scores(minilm: OnnxEmbedder) -> None:
    late = LateInteractionReranker(minilm, cache_bytes=50_000)
    queries = [f"holiday number {i} in {'a very ' * (i % 5)} far land" for i in range(40)]
    expected = [late.scores(query, [*TEXTS, query]) for query in queries]
    with ThreadPoolExecutor(8) as pool:
        scores = list(pool.map(lambda query: late.scores(query, [*TEXTS, query]), queries))
    np.testing.assert_allclose(scores, expected, atol=1e-3)


@pytest.mark.parametrize("contexts", [[""], [""] * 4])
def test_a_context_a_text_or_none(late: LateInteractionReranker, contexts: list[str]) -> None:
    with pytest.raises(ValueError, match="contexts for 3 texts"):
        late.scores(QUERY, TEXTS, contexts)
