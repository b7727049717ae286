"""Google's Gemini API (`pip install 'ai-memory-layer[gemini]'`)."""

from collections.abc import Mapping, Sequence
from typing import Any

from memory.embedding.breaker import CAUTION, Caution
from memory.embedding.protocol import Purpose
from memory.embedding.remote import RemoteEmbedder
from memory.embedding.retrying import DOCUMENT_PATIENCE, QUERY_PATIENCE, Patience
from memory.errors import EmbeddingSetupError

DEFAULT_MODEL = "gemini-embedding-001"
DEFAULT_DIMENSIONS = 768
# The first model gives 768 dimensions and takes no parameter for them.
WITHOUT_DIMENSIONS = frozenset({"embedding-001"})


class GeminiEmbedder(RemoteEmbedder):
    """Any embedding model of the Gemini API; documents and queries are embedded as such."""

    provider = "Gemini"
    key_variable = "MEMORY_GEMINI_API_KEY"

    def __init__(
        self,
        api_key: str,
        model: str = "",
        dimensions: int | None = None,
        base_url: str = "",
        *,
        document_patience: Patience = DOCUMENT_PATIENCE,
        query_patience: Patience = QUERY_PATIENCE,
        caution: Caution = CAUTION,
    ) -> None:
        """Raises `EmbeddingSetupError` when the key or the SDK is missing."""
        try:
            from google import genai  # noqa: PLC0415 (optional)
        except ImportError as error:
            raise EmbeddingSetupError(
                "The Gemini SDK is not installed: pip install 'ai-memory-layer[gemini]'"
            ) from error
        if not api_key:
            raise EmbeddingSetupError(f"{self.key_variable} is not set")
        model = (model or DEFAULT_MODEL).removeprefix("models/")
        dimensions = dimensions or DEFAULT_DIMENSIONS
        if model in WITHOUT_DIMENSIONS and dimensions != DEFAULT_DIMENSIONS:
            raise EmbeddingSetupError(
                f"MEMORY_EMBEDDING_DIMENSIONS={dimensions}: {model} gives {DEFAULT_DIMENSIONS}"
            )
        super().__init__(model, dimensions, api_key, document_patience, query_patience, caution)
        self._genai = genai
        self._client = genai.Client(
            vertexai=False,
            api_key=api_key,
            http_options=genai.types.HttpOptions(base_url=base_url or None),
        )

    def close(self) -> None:
        """Close the connections to the provider."""
        self._client.close()

    def _request(
        self, texts: list[str], purpose: Purpose, timeout: float
    ) -> Sequence[Sequence[float]]:
        types = self._genai.types
        # The SDK makes a list of plain strings one content of many parts for some models.
        contents = [types.Content(parts=[types.Part(text=text)]) for text in texts]
        config = types.EmbedContentConfig(
            task_type="RETRIEVAL_QUERY" if purpose == "query" else "RETRIEVAL_DOCUMENT",
            output_dimensionality=None if self.model in WITHOUT_DIMENSIONS else self._dimensions,
            http_options=types.HttpOptions(timeout=int(timeout * 1000)),
        )
        try:
            answer = self._client.models.embed_content(
                model=self.model, contents=contents, config=config
            )
        except self._genai.errors.APIError as error:
            raise self._explain(error) from None
        except Exception as error:  # Its transport is one of three, each with its own errors.
            raise self._no_answer(error) from None
        return [embedding.values or [] for embedding in answer.embeddings or []]

    def _explain(self, error: Any) -> Exception:
        # A wrong key is a 400 here.
        status = 401 if "API_KEY_INVALID" in str(error.details) else error.code
        headers = {**_asked_wait(error.details), **getattr(error.response, "headers", {})}
        return self._failure(status, error.message, headers)


def _asked_wait(details: Any) -> Mapping[str, str]:
    """The wait that the body of a 429 asks for, such as `"retryDelay": "7s"`, as a header."""
    body = details.get("error", details) if isinstance(details, dict) else {}
    entries = body.get("details") if isinstance(body, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        seconds = str(entry.get("retryDelay", "")) if isinstance(entry, dict) else ""
        if seconds.endswith("s"):
            return {"retry-after": seconds.removesuffix("s").partition(".")[0]}
    return {}
