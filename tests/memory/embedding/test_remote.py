"""What holds for every remote provider, each against a fake of its API."""

import time
from collections.abc import Callable

import numpy as np
import pytest

from memory.embedding.breaker import Caution
from memory.embedding.retrying import Patience
from memory.errors import (
    EmbeddingError,
    EmbeddingRejectedError,
    EmbeddingSetupError,
    EmbeddingUnavailableError,
)
from tests.memory.embedding.conftest import HASTE, KEY, Remote
from tests.memory.embedding.fake_api import DIMENSIONS, Answer, FakeApi, vectors_of
from tests.memory.embedding.quotations import FORMS, TEXT, WORDS, quoted_in, quoting


def test_vectors_come_in_the_order_of_the_texts_over_several_requests(
    api: FakeApi, remote: Remote
) -> None:
    vectors = remote.embed([f"text {i}" for i in range(230)])
    angles = np.arctan2(vectors[:, 1], vectors[:, 0])
    np.testing.assert_allclose(angles, np.arange(230) / 1000, atol=1e-6)
    assert [len(request.texts) for request in api.requests] == [100, 100, 30]


def test_reduced_vectors_are_made_unit_length(remote: Remote) -> None:
    vectors = remote.embed(["text 1", "text 2"])
    assert vectors.dtype == np.float32
    assert vectors.shape == (2, DIMENSIONS)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_no_texts_make_no_request(api: FakeApi, remote: Remote) -> None:
    assert remote.embed([]).shape == (0, DIMENSIONS)
    assert not api.requests


def test_a_batch_is_bounded_in_bytes_too(api: FakeApi, remote: Remote) -> None:
    remote.embed(["x" * 100_000 + f" {i}" for i in range(5)])
    assert [len(request.texts) for request in api.requests] == [2, 2, 1]


def test_an_empty_text_and_a_lone_surrogate_are_sent_as_something(
    api: FakeApi, remote: Remote
) -> None:
    assert remote.embed(["", "a\udc80b"]).shape == (2, DIMENSIONS)
    assert api.requests[0].texts == [" ", "a?b"]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_provider_is_asked_again(api: FakeApi, remote: Remote, status: int) -> None:
    api.answers = [Answer(status), Answer(status)]
    assert remote.embed(["text 1"]).shape == (1, DIMENSIONS)
    assert len(api.requests) == 3


def test_retry_after_is_waited_for(api: FakeApi, remote: Remote) -> None:
    api.answers = [Answer(429, {"Retry-After": "1"})]
    began = time.monotonic()
    remote.embed(["text 1"])
    assert time.monotonic() - began >= 1.0


def test_a_wait_longer_than_the_budget_ends_the_tries_at_once(api: FakeApi, remote: Remote) -> None:
    api.answers = [Answer(429, {"Retry-After": "3600"})]
    began = time.monotonic()
    with pytest.raises(EmbeddingUnavailableError, match="429"):
        remote.embed(["text 1"])
    assert time.monotonic() - began < HASTE.budget / 2
    assert len(api.requests) == 1


def test_a_provider_that_stays_broken_is_given_up_within_the_budget(
    api: FakeApi, make_remote: Callable[..., Remote]
) -> None:
    patience = Patience(budget=2.0, timeout=30, first_wait=0.001)
    remote = make_remote(patience=patience, caution=Caution(failures=10_000))
    api.answers = [Answer(503)] * 10_000
    began = time.monotonic()
    with pytest.raises(EmbeddingUnavailableError, match="503"):
        remote.embed(["text 1"])
    assert 0.1 < time.monotonic() - began < 20
    assert len(api.requests) > 1


def test_the_budget_is_that_of_the_whole_call(
    api: FakeApi, make_remote: Callable[..., Remote]
) -> None:
    remote = make_remote(patience=Patience(budget=0.2, timeout=30, first_wait=0.001))
    api.answers = [Answer(silent=0.3), Answer(503)]
    with pytest.raises(EmbeddingUnavailableError, match="503"):
        remote.embed([f"text {i}" for i in range(200)])
    assert len(api.requests) == 2


def test_a_hung_provider_is_left_after_the_timeout(
    api: FakeApi, make_remote: Callable[..., Remote]
) -> None:
    remote = make_remote(patience=Patience(budget=0.2, timeout=0.2, first_wait=0.3))
    api.answers = [Answer(silent=30)] * 5
    began = time.monotonic()
    with pytest.raises(EmbeddingUnavailableError, match="no answer"):
        remote.embed(["text 1"])
    assert time.monotonic() - began < 15


def test_a_dropped_connection_is_tried_again(
    api: FakeApi, make_remote: Callable[..., Remote]
) -> None:
    remote = make_remote(patience=Patience(budget=60, timeout=0.2, first_wait=0.001))
    api.answers = [Answer(silent=30)]
    assert remote.embed(["text 1"]).shape == (1, DIMENSIONS)


def test_an_input_that_is_refused_is_not_sent_again(api: FakeApi, remote: Remote) -> None:
    api.answers = [Answer(400, body={"error": {"message": f"bad text, {KEY}", "code": 400}})]
    with pytest.raises(EmbeddingRejectedError, match="400") as raised:
        remote.embed(["text 1"])
    assert len(api.requests) == 1
    assert "bad text" in raised.value.in_full
    assert KEY not in raised.value.in_full


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("status", [400, 413, 422, 429, 500])
def test_the_message_of_an_error_quotes_nothing_whatever_the_provider_does(
    api: FakeApi, remote: Remote, status: int, form: str
) -> None:
    api.answers = [quoting(status, form)]
    with pytest.raises(EmbeddingError) as raised:
        remote.embed([TEXT])
    assert str(raised.value) == f"{remote.provider} answered {status}"
    assert not quoted_in(repr(raised.value))
    assert quoted_in(raised.value.in_full) == WORDS


def test_what_the_provider_says_fits_a_row(api: FakeApi, remote: Remote) -> None:
    api.answers = [Answer(400, body={"error": {"message": "a\0b\udc80c " + "x" * 9_999}})]
    with pytest.raises(EmbeddingRejectedError) as raised:
        remote.embed(["text 1"])
    assert "\0" not in raised.value.said
    assert len(raised.value.said.encode()) <= 300


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_not_accepted_names_its_variable(
    api: FakeApi, remote: Remote, status: int
) -> None:
    api.answers = [Answer(status, body={"error": {"message": f"wrong key {KEY}"}})]
    with pytest.raises(EmbeddingSetupError, match=f"{status}.*{remote.key_variable}") as raised:
        remote.embed(["text 1"])
    assert KEY not in raised.value.in_full
    assert raised.value.__suppress_context__


def test_an_unknown_model_is_a_matter_of_set_up(api: FakeApi, remote: Remote) -> None:
    api.answers = [quoting(404)]
    with pytest.raises(EmbeddingSetupError, match="MEMORY_EMBEDDING_MODEL_NAME") as raised:
        remote.embed([TEXT])
    assert not quoted_in(str(raised.value))
    assert quoted_in(raised.value.in_full) == WORDS


@pytest.mark.parametrize(
    "vectors",
    [
        pytest.param(lambda texts: vectors_of(texts)[:-1], id="too few"),
        pytest.param(lambda texts: [*vectors_of(texts), [1.0] * DIMENSIONS], id="too many"),
        pytest.param(lambda texts: [[1.0] * 7 for _ in texts], id="dimension"),
        pytest.param(lambda texts: [[1.0] * (7 + i) for i, _ in enumerate(texts)], id="ragged"),
        pytest.param(lambda texts: [[float("nan")] * DIMENSIONS for _ in texts], id="NaN"),
        pytest.param(lambda texts: [[float("inf")] * DIMENSIONS for _ in texts], id="infinite"),
        pytest.param(lambda texts: [[0.0] * DIMENSIONS for _ in texts], id="zero"),
        pytest.param(lambda texts: [], id="none"),
    ],
)
def test_a_wrong_answer_gives_no_vectors(
    api: FakeApi, remote: Remote, vectors: Callable[[list[str]], list[list[float]]]
) -> None:
    api.answers = [Answer(vectors=vectors)] * 100
    with pytest.raises(EmbeddingUnavailableError):
        remote.embed(["text 1", "text 2"])


def test_an_answer_that_is_no_json_is_no_answer(api: FakeApi, remote: Remote) -> None:
    api.answers = [Answer(body="<html>", headers={"Content-Type": "text/html"})] * 1000
    with pytest.raises(EmbeddingUnavailableError, match="no answer"):
        remote.embed(["text 1"])


def test_a_server_that_is_not_there_is_unavailable(
    make_remote: Callable[..., Remote], api: FakeApi
) -> None:
    api.url = "http://127.0.0.1:9"
    remote = make_remote(patience=Patience(budget=0.05, timeout=0.2, first_wait=0.01))
    with pytest.raises(EmbeddingUnavailableError, match="no answer"):
        remote.embed(["text 1"])
