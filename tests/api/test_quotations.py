"""A provider that quotes in its errors what it was sent: no log says it, and no other caller."""

import logging
from collections.abc import Iterator

import httpx
import pytest

from memory.settings import Settings
from tests.api.answers import assert_problem
from tests.api.test_search_degraded import asking
from tests.api.test_secrets import listen
from tests.conftest import message, serving
from tests.memory.embedding import fake_api
from tests.memory.embedding.fake_api import FakeApi
from tests.memory.embedding.quotations import FORMS, TEXT, WORDS, quoted_in, quoting

SEMANTIC = {"tenant_id": "acme", "query": TEXT, "mode": "semantic"}


@pytest.fixture
def fake() -> Iterator[FakeApi]:
    with fake_api.serving() as provider:
        yield provider


@pytest.fixture
def inline(inline_settings: Settings, fake: FakeApi) -> Iterator[httpx.Client]:
    """A service that embeds within the request, elsewhere."""
    with serving(asking(inline_settings, fake.url)) as api:
        yield api


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/memory/search"])
@pytest.mark.parametrize("form", FORMS)
def test_what_is_refused_is_told_its_own_caller_alone(
    inline: httpx.Client, fake: FakeApi, caplog: pytest.LogCaptureFixture, path: str, form: str
) -> None:
    listen(caplog)
    fake.answers = [quoting(400, form)]
    answer = inline.post(path, json=message(content=TEXT) if path == "/v1/messages" else SEMANTIC)
    assert_problem(answer, 422, "embedding-rejected")
    assert quoted_in(answer.json()["detail"]) == WORDS
    assert "request" in caplog.text
    assert not quoted_in(caplog.text)


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/memory/search"])
@pytest.mark.parametrize("status", [404, 429, 500])
def test_a_failure_is_told_nobody_in_the_providers_words(
    inline: httpx.Client, fake: FakeApi, caplog: pytest.LogCaptureFixture, path: str, status: int
) -> None:
    listen(caplog)
    # Others' queries may have been sent along.
    fake.answers = [quoting(status)]
    answer = inline.post(path, json=message(content=TEXT) if path == "/v1/messages" else SEMANTIC)
    assert_problem(answer, 503, "unavailable")
    assert not quoted_in(answer.text)
    failed = [each for each in caplog.records if "request_failed" in each.getMessage()]
    assert [each.levelno for each in failed] == [logging.ERROR]
    assert f"OpenAI answered {status}" in failed[0].getMessage()
    assert not quoted_in(caplog.text)


def test_a_search_by_words_says_nothing_of_it(
    inline: httpx.Client, fake: FakeApi, caplog: pytest.LogCaptureFixture
) -> None:
    listen(caplog)
    fake.answers = [quoting(400)]
    answer = inline.post("/v1/memory/search", json={"tenant_id": "acme", "query": TEXT})
    assert answer.json()["degraded"]
    assert not quoted_in(answer.text + caplog.text)
