"""A provider that fails again and again is left alone for a while, each against a fake."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from memory.embedding.breaker import CLOSED, OPEN, TRYING, Breaker, Caution
from memory.embedding.retrying import Patience, TemporaryFailureError
from memory.errors import EmbeddingError, EmbeddingRejectedError, EmbeddingUnavailableError
from tests.memory.embedding.clocks import Clock
from tests.memory.embedding.conftest import Remote
from tests.memory.embedding.fake_api import Answer, FakeApi, Vector, vectors_of
from tests.memory.embedding.quotations import TEXT, WORDS, quoted_in, quoting
from tests.processes import wait_until

# So long that a test which waited for it would be seen to.
ENDLESS = Patience(budget=1000, timeout=30, first_wait=0.001, longest_wait=0.01)
# One try a call.
ONCE = Patience(budget=0, timeout=30)
LOST = TemporaryFailureError("no answer")
AWAY = Answer(503)
LONG = 30


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def remote(make_remote: Callable[..., Remote], clock: Clock) -> Remote:
    """Each provider in turn, which is tried once a call."""
    return make_remote(patience=ONCE, caution=Caution(clock=clock))


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker("OpenAI", Caution(clock=clock))


def fail(api: FakeApi, remote: Remote, times: int, answer: Answer = AWAY) -> str:
    """Have it fail so many times; what it says then."""
    said = ""
    for _ in range(times):
        api.answers = [answer]
        with pytest.raises(EmbeddingError) as raised:
            remote.embed(["text 1"])
        said = str(raised.value)
    api.answers = []
    return said


def lose(breaker: Breaker, times: int = 1) -> None:
    """Tries of which no answer comes."""

    def request() -> None:
        raise LOST

    for _ in range(times):
        with pytest.raises(EmbeddingUnavailableError):
            breaker.call(request)


@pytest.mark.parametrize("answer", [Answer(503), Answer(429), Answer(408), Answer(silent=LONG)])
def test_after_five_failures_it_is_left_alone(
    api: FakeApi, make_remote: Callable[..., Remote], clock: Clock, answer: Answer
) -> None:
    hasty = Patience(budget=0, timeout=0.05) if answer.silent else ONCE
    remote = make_remote(patience=hasty, caution=Caution(clock=clock))
    fail(api, remote, 4, answer)
    assert remote.breaker_state == CLOSED
    last = fail(api, remote, 1, answer)
    assert remote.breaker_state == OPEN
    alone = f"{remote.provider} is left alone for 30 s: it failed 5 times in a row"
    assert last.endswith(f"; {alone}")
    clock.now += 18
    with pytest.raises(EmbeddingUnavailableError) as raised:
        remote.embed(["text 1"])
    assert str(raised.value) == remote.obstacle == alone.replace("30", "12")
    # The fake may hear of a try only after that was given up.
    wait_until(lambda: len(api.requests) >= 5, "it was asked five times")
    assert len(api.requests) == 5


def test_the_try_that_ends_it_is_told_without_the_providers_words(
    api: FakeApi, remote: Remote
) -> None:
    fail(api, remote, 4)
    api.answers = [quoting(500)]
    with pytest.raises(EmbeddingUnavailableError, match=r"answered 500; .* left alone") as raised:
        remote.embed([TEXT])
    assert not quoted_in(str(raised.value) + remote.obstacle)
    assert quoted_in(raised.value.in_full) == WORDS


def test_it_ends_the_tries_of_a_call(
    api: FakeApi, make_remote: Callable[..., Remote], clock: Clock
) -> None:
    remote = make_remote(patience=ENDLESS, caution=Caution(clock=clock))
    api.answers = [Answer(503)] * 1000
    for _ in range(3):
        with pytest.raises(EmbeddingUnavailableError, match="left alone"):
            remote.embed(["text 1"])
    assert len(api.requests) == 5


def test_a_success_lets_it_in_again(api: FakeApi, remote: Remote, clock: Clock) -> None:
    fail(api, remote, 5)
    clock.now += 30
    assert remote.embed(["text 1"]).shape[0] == 1
    assert (remote.breaker_state, remote.obstacle) == (CLOSED, "")
    # It counts from the beginning.
    fail(api, remote, 4)
    assert remote.breaker_state == CLOSED


def test_a_failure_leaves_it_alone_as_long_again(
    api: FakeApi, remote: Remote, clock: Clock
) -> None:
    fail(api, remote, 5)
    clock.now += 30
    assert "left alone for 30 s: it failed 6 times in a row" in fail(api, remote, 1)
    clock.now += 29.9
    with pytest.raises(EmbeddingUnavailableError, match="for 1 s"):
        remote.embed(["text 1"])
    assert len(api.requests) == 6
    clock.now += 0.1
    remote.embed(["text 1"])
    assert remote.breaker_state == CLOSED


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_who_refuses_is_there(api: FakeApi, remote: Remote, clock: Clock, status: int) -> None:
    refused = Answer(status, body={"error": {"message": "no", "code": status}})
    fail(api, remote, 4)
    fail(api, remote, 6, refused)
    fail(api, remote, 4)
    assert remote.breaker_state == CLOSED
    fail(api, remote, 1)
    clock.now += 30
    fail(api, remote, 1, refused)
    assert remote.breaker_state == CLOSED


def test_calls_of_several_threads_go_on_side_by_side(
    api: FakeApi, make_remote: Callable[..., Remote]
) -> None:
    remote = make_remote(patience=Patience(budget=0, timeout=LONG))
    # Nobody is answered before all four have asked.
    together = threading.Barrier(4, timeout=LONG)

    def answer(texts: list[str]) -> list[Vector]:
        together.wait()
        return vectors_of(texts)

    api.answers = [Answer(vectors=answer)] * 4
    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(remote.embed, [f"text {i}"]) for i in range(4)]
        assert [call.result(LONG).shape[0] for call in calls] == [1] * 4


def test_one_call_tries_it_again_and_nobody_waits_for_that(
    api: FakeApi, make_remote: Callable[..., Remote], clock: Clock
) -> None:
    remote = make_remote(patience=Patience(budget=0, timeout=LONG), caution=Caution(clock=clock))
    fail(api, remote, 5)
    clock.now += 30
    asked, may_answer = threading.Event(), threading.Event()

    def answer(texts: list[str]) -> list[Vector]:
        asked.set()
        assert may_answer.wait(LONG)
        return vectors_of(texts)

    api.answers = [Answer(vectors=answer)]
    with ThreadPoolExecutor(1) as threads:
        trial = threads.submit(remote.embed, ["text 1"])
        assert asked.wait(LONG)
        assert remote.breaker_state == TRYING
        for _ in range(3):
            with pytest.raises(EmbeddingUnavailableError, match="while one call tries it again"):
                remote.embed(["text 1"])
        may_answer.set()
        assert trial.result(LONG).shape[0] == 1
    assert remote.breaker_state == CLOSED
    assert len(api.requests) == 6


def test_a_trial_that_is_cut_off_says_nothing_and_leaves_its_place(
    breaker: Breaker, clock: Clock
) -> None:
    lose(breaker, 5)
    clock.now += 30

    def cut_off() -> None:
        raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            breaker.call(cut_off)
        assert breaker.state == TRYING
    assert breaker.call(lambda: "yes") == "yes"
    assert breaker.state == CLOSED


def test_what_began_before_it_was_left_alone_changes_nothing(
    breaker: Breaker, clock: Clock
) -> None:
    def late_success() -> str:
        lose(breaker, 5)
        return "late"

    assert breaker.call(late_success) == "late"
    assert breaker.state == OPEN
    clock.now += 30
    assert breaker.call(lambda: "yes") == "yes"

    def late_failure() -> None:
        late_success()
        clock.now += 30
        breaker.call(lambda: "yes")
        raise LOST

    with pytest.raises(TemporaryFailureError):
        breaker.call(late_failure)
    assert (breaker.state, breaker.in_doubt) == (CLOSED, False)


def test_who_listens_hears_the_state_now_and_each_change(
    api: FakeApi, remote: Remote, clock: Clock
) -> None:
    heard: list[tuple[str, int]] = []
    remote.on_breaker(lambda provider, state: heard.append((provider, state)))
    assert heard == [(remote.provider, 0)]
    fail(api, remote, 5)
    clock.now += 30
    fail(api, remote, 1)
    clock.now += 30
    remote.embed(["text 1"])
    assert [state for _, state in heard] == [0, 2, 1, 2, 1, 0]
    late: list[int] = []
    fail(api, remote, 5)
    remote.on_breaker(lambda _, state: late.append(state))
    assert late == [2]


def test_the_log_has_the_begin_and_the_end(
    api: FakeApi, remote: Remote, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "memory")
    fail(api, remote, 5)
    for _ in range(3):
        clock.now += 30
        fail(api, remote, 1)
    clock.now += 30
    remote.embed(["text 1"])
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("memory")]
    assert [line.split()[0] for line in lines] == [
        "event='provider_left_alone'",
        "event='provider_answers_again'",
    ]
    assert "failures=5" in lines[0]
    assert "seconds=120" in lines[1]
    assert all(remote.provider in line for line in lines)


def test_whose_last_try_failed_is_asked_with_a_word(
    api: FakeApi, remote: Remote, clock: Clock
) -> None:
    remote.check_answers()
    assert not api.requests
    fail(api, remote, 1)
    api.answers = [Answer(503)]
    with pytest.raises(EmbeddingUnavailableError, match="503"):
        remote.check_answers()
    remote.check_answers()
    assert [request.texts for request in api.requests] == [["text 1"], ["ready"], ["ready"]]
    remote.check_answers()
    assert len(api.requests) == 3


def test_who_has_not_answered_lately_is_asked_where_that_is_wanted(
    api: FakeApi, remote: Remote, clock: Clock
) -> None:
    for seconds, asked in ((0, 1), (9, 1), (1, 2)):
        clock.now += seconds
        remote.check_answers(lately=True)
        assert len(api.requests) == asked
    clock.now += 9
    remote.embed(["text 1"])
    clock.now += 9
    remote.check_answers(lately=True)
    assert len(api.requests) == 3


def test_a_word_that_is_refused_is_an_answer(api: FakeApi, remote: Remote) -> None:
    api.answers = [Answer(401), Answer(422, body={"error": {"message": "no", "code": 422}})]
    for _ in range(2):
        remote.check_answers(lately=True)


def test_a_rejected_text_is_told_as_it_is(breaker: Breaker, clock: Clock) -> None:
    lose(breaker, 5)
    clock.now += 30

    def refuse() -> None:
        raise EmbeddingRejectedError("too long")

    with pytest.raises(EmbeddingRejectedError, match="too long"):
        breaker.call(refuse)


def test_who_listens_hears_when_a_try_may_begin_again() -> None:
    heard: list[int] = []
    breaker = Breaker("OpenAI", Caution(seconds=0.1))
    breaker.listen(lambda _, state: heard.append(state))
    lose(breaker, 5)
    assert heard == [CLOSED, OPEN]
    wait_until(lambda: heard == [CLOSED, OPEN, TRYING], "the pause is over")
    breaker.call(lambda: "here")
    assert heard[-1] == CLOSED
