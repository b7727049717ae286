import sys
import time

import pytest

from memory.embedding.google_gemini import GeminiEmbedder
from memory.embedding.protocol import Purpose
from memory.errors import EmbeddingSetupError
from tests.memory.embedding.conftest import KEY, MakeGemini
from tests.memory.embedding.fake_api import Answer, FakeApi


@pytest.mark.parametrize(
    ("purpose", "task"), [("document", "RETRIEVAL_DOCUMENT"), ("query", "RETRIEVAL_QUERY")]
)
def test_the_request_names_task_dimensions_and_key(
    api: FakeApi, gemini: MakeGemini, purpose: Purpose, task: str
) -> None:
    gemini().embed(["text 1", "text 2"], purpose)
    (request,) = api.requests
    assert request.path.endswith("/models/gemini-embedding-001:batchEmbedContents")
    assert request.headers["x-goog-api-key"] == KEY
    assert [one["taskType"] for one in request.body["requests"]] == [task, task]
    assert [one["outputDimensionality"] for one in request.body["requests"]] == [8, 8]


@pytest.mark.parametrize("model", ["gemini-embedding-2", "models/text-embedding-004"])
def test_every_text_is_a_content_of_its_own_for_other_models(
    api: FakeApi, gemini: MakeGemini, model: str
) -> None:
    embedder = gemini(model)
    assert embedder.embed(["text 1", "text 2"]).shape == (2, 8)
    assert embedder.model == model.removeprefix("models/")
    assert api.requests[0].path.endswith(f"/models/{embedder.model}:batchEmbedContents")
    assert api.requests[0].texts == ["text 1", "text 2"]


def test_the_defaults(gemini: MakeGemini) -> None:
    embedder = gemini(dimensions=None)
    assert (embedder.model, embedder.dimensions) == ("gemini-embedding-001", 768)


def test_the_oldest_model_takes_no_dimensions(api: FakeApi, gemini: MakeGemini) -> None:
    api.answers = [Answer(vectors=lambda texts: [[1.0] * 768 for _ in texts])]
    gemini("embedding-001", None).embed(["text 1"])
    assert "outputDimensionality" not in api.requests[0].body["requests"][0]
    with pytest.raises(EmbeddingSetupError, match="MEMORY_EMBEDDING_DIMENSIONS=256"):
        gemini("embedding-001", 256)


def test_a_wrong_key_that_comes_as_a_400_is_a_matter_of_set_up(
    api: FakeApi, gemini: MakeGemini
) -> None:
    details = [{"reason": "API_KEY_INVALID"}]
    api.answers = [Answer(400, body={"error": {"message": f"no {KEY}", "details": details}})]
    with pytest.raises(EmbeddingSetupError, match="MEMORY_GEMINI_API_KEY") as raised:
        gemini().embed(["text 1"])
    assert KEY not in str(raised.value)


def test_the_wait_in_the_body_of_a_429_is_waited_for(api: FakeApi, gemini: MakeGemini) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1.2s"}]
    api.answers = [Answer(429, body={"error": {"message": "busy", "details": details}})]
    began = time.monotonic()
    gemini().embed(["text 1"])
    assert time.monotonic() - began >= 1.0


def test_no_key_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "another's")
    with pytest.raises(EmbeddingSetupError, match="MEMORY_GEMINI_API_KEY is not set"):
        GeminiEmbedder("")


def test_without_the_sdk_the_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.genai", None)
    monkeypatch.delattr("google.genai", raising=False)
    with pytest.raises(EmbeddingSetupError, match=r"pip install 'ai-memory-layer\[gemini\]'"):
        GeminiEmbedder(KEY)
