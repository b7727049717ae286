"""Providers against a fake of their API, and the real local model."""

from collections.abc import Callable, Iterator

import pytest

from memory.embedding.breaker import CAUTION, Caution
from memory.embedding.google_gemini import GeminiEmbedder
from memory.embedding.onnx import OnnxEmbedder
from memory.embedding.openai import OpenAIEmbedder
from memory.embedding.retrying import Patience
from tests.memory.embedding.fake_api import DIMENSIONS, FakeApi, serving

KEY = "sk-very-secret-key"
# The waits are short; what is asked may take the time that a busy machine needs.
HASTE = Patience(budget=60, timeout=30, first_wait=0.001, longest_wait=0.01)
# For one who is asked in vain until the time is up.
BRIEF = Patience(budget=0.3, timeout=30, first_wait=0.01, longest_wait=0.05)

Remote = GeminiEmbedder | OpenAIEmbedder
MakeGemini = Callable[..., GeminiEmbedder]
MakeOpenAI = Callable[..., OpenAIEmbedder]


@pytest.fixture(scope="session")
def minilm() -> OnnxEmbedder:
    """The default model, loaded once."""
    return OnnxEmbedder()


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with serving() as fake:
        yield fake


@pytest.fixture
def gemini(api: FakeApi) -> Iterator[MakeGemini]:
    """Makes a Gemini embedder that talks to the fake."""
    made: list[GeminiEmbedder] = []

    def make(
        model: str = "",
        dimensions: int | None = DIMENSIONS,
        patience: Patience = HASTE,
        caution: Caution = CAUTION,
    ) -> GeminiEmbedder:
        made.append(
            GeminiEmbedder(
                KEY,
                model,
                dimensions,
                api.url,
                document_patience=patience,
                query_patience=patience,
                caution=caution,
            )
        )
        return made[-1]

    yield make
    for embedder in made:
        embedder.close()


@pytest.fixture
def openai(api: FakeApi) -> Iterator[MakeOpenAI]:
    """Makes an OpenAI or Azure embedder that talks to the fake."""
    made: list[OpenAIEmbedder] = []

    def make(
        model: str = "",
        dimensions: int | None = DIMENSIONS,
        patience: Patience = HASTE,
        key: str = KEY,
        api_version: str = "",
        caution: Caution = CAUTION,
    ) -> OpenAIEmbedder:
        made.append(
            OpenAIEmbedder(
                key,
                model,
                dimensions,
                api.url,
                api_version,
                document_patience=patience,
                query_patience=patience,
                caution=caution,
            )
        )
        return made[-1]

    yield make
    for embedder in made:
        embedder.close()


@pytest.fixture(params=["gemini", "openai"])
def make_remote(request: pytest.FixtureRequest) -> Callable[..., Remote]:
    """Makes an embedder of each remote provider in turn."""
    maker: Callable[..., Remote] = request.getfixturevalue(request.param)
    return maker


@pytest.fixture
def remote(make_remote: Callable[..., Remote]) -> Remote:
    """An embedder of each remote provider in turn."""
    return make_remote()
