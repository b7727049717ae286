import sys

import pytest

from memory.embedding.openai import OpenAIEmbedder
from memory.errors import EmbeddingSetupError
from tests.memory.embedding.conftest import KEY, MakeOpenAI
from tests.memory.embedding.fake_api import Answer, FakeApi


def test_the_request(api: FakeApi, openai: MakeOpenAI) -> None:
    openai().embed(["text 1"])
    (request,) = api.requests
    assert request.path == "/embeddings"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "input": ["text 1"],
        "model": "text-embedding-3-small",
        "dimensions": 8,
        "encoding_format": "float",
    }


def test_azure_has_its_own_path_and_header(api: FakeApi, openai: MakeOpenAI) -> None:
    openai("my-deployment", api_version="2024-10-21").embed(["text 1"])
    (request,) = api.requests
    assert request.path == "/openai/deployments/my-deployment/embeddings?api-version=2024-10-21"
    assert request.headers["api-key"] == KEY
    assert KEY not in request.headers.get("authorization", "")


@pytest.mark.parametrize(
    ("model", "dimensions"),
    [
        ("", 1536),
        ("text-embedding-3-small", 1536),
        ("text-embedding-3-large", 3072),
        ("text-embedding-ada-002", 1536),
    ],
)
def test_known_dimensions_need_no_request(
    api: FakeApi, openai: MakeOpenAI, model: str, dimensions: int
) -> None:
    assert openai(model, None).dimensions == dimensions
    assert openai(model, dimensions).dimensions == dimensions
    assert not api.requests


def test_an_unknown_model_is_asked_once(api: FakeApi, openai: MakeOpenAI) -> None:
    embedder = openai("nomic-embed-text", None)
    assert embedder.dimensions == 8
    embedder.embed(["text 1"])
    assert [request.texts for request in api.requests] == [["dimensions"], ["text 1"]]
    assert all("dimensions" not in request.body for request in api.requests)


def test_dimensions_are_sent_only_when_they_are_not_the_models(
    api: FakeApi, openai: MakeOpenAI
) -> None:
    api.answers = [Answer(vectors=lambda texts: [[1.0] * 1536 for _ in texts])]
    openai("text-embedding-ada-002", 1536).embed(["text 1"])
    assert "dimensions" not in api.requests[0].body


def test_a_server_of_ones_own_may_need_no_key(api: FakeApi, openai: MakeOpenAI) -> None:
    assert openai(key="").embed(["text 1"]).shape == (1, 8)


def test_what_is_not_set_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "another's")
    with pytest.raises(EmbeddingSetupError, match="MEMORY_OPENAI_API_KEY is not set"):
        OpenAIEmbedder("")
    with pytest.raises(EmbeddingSetupError, match="MEMORY_OPENAI_API_KEY is not set"):
        OpenAIEmbedder("", base_url="http://azure.example", api_version="2024-10-21")
    with pytest.raises(EmbeddingSetupError, match="MEMORY_OPENAI_BASE_URL"):
        OpenAIEmbedder(KEY, api_version="2024-10-21")


def test_without_the_sdk_the_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(EmbeddingSetupError, match=r"pip install 'ai-memory-layer\[openai\]'"):
        OpenAIEmbedder(KEY)
