"""OpenAI's API, Azure's, and every compatible one (`pip install 'ai-memory-layer[openai]'`)."""

from collections.abc import Sequence
from typing import Any

from memory.embedding.breaker import CAUTION, Caution
from memory.embedding.protocol import Purpose
from memory.embedding.remote import RemoteEmbedder
from memory.embedding.retrying import DOCUMENT_PATIENCE, QUERY_PATIENCE, Patience
from memory.errors import EmbeddingSetupError

DEFAULT_URL = "https://api.openai.com/v1"
DEFAULT_MODEL = "text-embedding-3-small"
KNOWN_DIMENSIONS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
}


class OpenAIEmbedder(RemoteEmbedder):
    """Any embedding model behind OpenAI's API; with Azure the model is the deployment's name."""

    provider = "OpenAI"
    key_variable = "MEMORY_OPENAI_API_KEY"

    def __init__(
        self,
        api_key: str,
        model: str = "",
        dimensions: int | None = None,
        base_url: str = "",
        api_version: str = "",
        *,
        document_patience: Patience = DOCUMENT_PATIENCE,
        query_patience: Patience = QUERY_PATIENCE,
        caution: Caution = CAUTION,
    ) -> None:
        """`api_version` makes it Azure's API, at `base_url`; a local server may need no key.

        Raises `EmbeddingSetupError` when the key, Azure's URL or the SDK is missing.
        """
        try:
            import openai  # noqa: PLC0415 (optional)
        except ImportError as error:
            raise EmbeddingSetupError(
                "The OpenAI SDK is not installed: pip install 'ai-memory-layer[openai]'"
            ) from error
        if not api_key and (api_version or not base_url):
            raise EmbeddingSetupError(f"{self.key_variable} is not set")
        if api_version and not base_url:
            raise EmbeddingSetupError("MEMORY_OPENAI_BASE_URL, Azure's endpoint, is not set")
        model = model or DEFAULT_MODEL
        known = KNOWN_DIMENSIONS.get(model)
        super().__init__(
            model, dimensions or known, api_key, document_patience, query_patience, caution
        )
        self._sdk: Any = openai
        # Many compatible servers refuse the parameter, so it is sent only when it matters.
        self._reduced: Any = openai.omit if dimensions in (None, known) else dimensions
        self._client = self._connected(base_url, api_version)

    def close(self) -> None:
        """Close the connections to the provider."""
        self._client.close()

    def _connected(self, base_url: str, api_version: str) -> Any:
        if api_version:
            return self._sdk.AzureOpenAI(
                azure_endpoint=base_url,
                api_version=api_version,
                api_key=self._api_key,
                max_retries=0,
            )
        return self._sdk.OpenAI(
            base_url=base_url or DEFAULT_URL, api_key=self._api_key or "none", max_retries=0
        )

    def _request(
        self,
        texts: list[str],
        purpose: Purpose,  # noqa: ARG002
        timeout: float,
    ) -> Sequence[Sequence[float]]:
        try:
            answer = self._client.embeddings.create(
                input=texts,
                model=self.model,
                dimensions=self._reduced,
                encoding_format="float",
                timeout=timeout,
            )
            vectors = sorted(answer.data, key=lambda entry: entry.index)
            return [entry.embedding for entry in vectors]
        except self._sdk.APIStatusError as error:
            raise self._failure(error.status_code, error.message, error.response.headers) from None
        except Exception as error:  # No connection, no JSON, or JSON of another shape.
            raise self._no_answer(error) from None
