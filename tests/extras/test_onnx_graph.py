import numpy as np
import pytest

from memory.embedding.onnx import OnnxEmbedder
from memory.embedding.sentence_transformer import SentenceTransformerEmbedder
from tests.extras.texts import LENGTHS, MIXED

pytestmark = pytest.mark.extras


@pytest.mark.parametrize("texts", [MIXED, LENGTHS, MIXED + LENGTHS], ids=["mixed", "len", "all"])
def test_the_graph_gives_the_vectors_of_sentence_transformers(
    reference: SentenceTransformerEmbedder, texts: list[str]
) -> None:
    vectors = OnnxEmbedder().embed(texts)
    np.testing.assert_allclose(vectors, reference.embed(texts), rtol=0, atol=1e-5)


def test_the_parts_of_a_long_text_are_the_same(reference: SentenceTransformerEmbedder) -> None:
    text = MIXED[-1] + " ".join(LENGTHS)
    assert OnnxEmbedder().split(text) == reference.split(text)
