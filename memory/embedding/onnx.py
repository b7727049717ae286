"""The default provider: all-MiniLM-L6-v2 from the packaged weights, on onnxruntime."""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tokenizers
from numpy.typing import NDArray

from memory.embedding.onnx_graph import HIDDEN, build_graph
from memory.embedding.protocol import Purpose, Vectors
from memory.embedding.text import is_word, split_by_pieces, well_formed
from memory.embedding.weights import MINILM, require_packaged_weights
from memory.errors import EmbeddingSetupError

# Told before it is loaded: from 1.29 on it reports its sessions to its maker, unless told not to.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime

# Word pieces: what the model was trained to read at once, and what two parts of a text share.
WINDOW = 256
OVERLAP = 50
CLS_AND_SEP = 2
# Pieces: a run of more is no faster, only larger in memory. To begin one costs as much as RUN_COST.
RUN_PIECES = 512
RUN_COST = 10
# More threads than this do not shorten runs of this size.
MOST_THREADS = 8


class OnnxEmbedder:
    """all-MiniLM-L6-v2: 384 dimensions, 256 word pieces at once."""

    model = MINILM
    dimensions = HIDDEN

    def __init__(self, folder: Path | None = None, threads: int | None = None) -> None:
        """Load the weights in `folder` (default: the packaged ones), to run on `threads` cores.

        Raises `EmbeddingSetupError` when the weights are missing or damaged.
        """
        folder = folder or require_packaged_weights()
        self._tokenizer = _load_tokenizer(folder / "tokenizer.json")
        self._session = _load_session(folder, threads or min(_cores(), MOST_THREADS))

    def split(self, text: str) -> list[str]:
        """The parts of `text` that each fit the window, cut between words, 50 pieces shared.

        Joined, the parts hold every character of `text`.
        """
        text = well_formed(text)
        room = WINDOW - CLS_AND_SEP
        if len(text.encode()) <= room:  # A word piece has at least one byte.
            return [text]
        pieces = self._tokenizer.encode(text, add_special_tokens=False)
        if len(pieces) <= room:
            return [text]
        return split_by_pieces(text, pieces.word_ids, pieces.offsets, room=room, overlap=OVERLAP)

    def embed(self, texts: Sequence[str], purpose: Purpose = "document") -> Vectors:  # noqa: ARG002
        """Unit vectors, shape `(len(texts), 384)`; what is beyond a text's window is not read."""
        pieces = self._pieces(texts)
        vectors = np.empty((len(texts), HIDDEN), dtype=np.float32)
        for run in _runs([len(ids) for ids in pieces]):
            vectors[run] = self._run([pieces[position] for position in run], "vectors")
        return vectors

    def embed_tokens(self, texts: Sequence[str], purpose: Purpose = "document") -> list[Vectors]:  # noqa: ARG002
        """For each text, the unit vectors of its words' pieces, shape `(pieces, 384)`."""
        pieces = self._pieces(texts)
        tokens = [np.empty((0, HIDDEN), dtype=np.float32)] * len(texts)
        for run in _runs([len(ids) for ids in pieces]):
            hidden = self._run([pieces[position] for position in run], "hidden")
            for position, rows in zip(run, hidden, strict=True):
                inner = pieces[position][1:-1]
                words = rows[1 : 1 + len(inner)][self._words[inner]]
                tokens[position] = words / np.linalg.norm(words, axis=1, keepdims=True)
        return tokens

    @cached_property
    def _words(self) -> NDArray[np.bool_]:
        """Which pieces of the vocabulary are of a word."""
        size = self._tokenizer.get_vocab_size()
        return np.array(
            [is_word(self._tokenizer.id_to_token(piece) or "") for piece in range(size)]
        )

    def _pieces(self, texts: Sequence[str]) -> list[list[int]]:
        """The pieces of each text that fit the window, between the marks of its two ends."""
        encodings = self._tokenizer.encode_batch_fast([well_formed(text) for text in texts])
        pieces = [encoding.ids for encoding in encodings]
        return [ids if len(ids) <= WINDOW else [*ids[: WINDOW - 1], ids[-1]] for ids in pieces]

    def _run(self, pieces: list[list[int]], output: Literal["vectors", "hidden"]) -> Vectors:
        lengths = np.array([len(ids) for ids in pieces], dtype=np.int32)
        inside = np.arange(lengths.max()) < lengths[:, None]
        padded = np.zeros(inside.shape, dtype=np.int32)
        padded[inside] = [piece for ids in pieces for piece in ids]
        pooling = (inside / lengths[:, None]).astype(np.float32)[:, None, :]
        inputs = {"pieces": padded, "lengths": lengths, "pooling": pooling}
        # onnxruntime copies out only what is asked for.
        answer: Vectors = self._session.run([output], inputs)[0]
        return answer


def _load_tokenizer(file: Path) -> tokenizers.Tokenizer:
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # The library raises nothing narrower.
        raise EmbeddingSetupError(f"{file} is not a tokenizer: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def _load_session(folder: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait double the time of a query beside a busy worker.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(folder)
    )
    return onnxruntime.InferenceSession(
        build_graph(folder), options, providers=["CPUExecutionProvider"]
    )


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _runs(lengths: Sequence[int]) -> Iterator[list[int]]:
    """The positions of `lengths`, shortest first, in groups that waste little on padding."""
    run: list[int] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[position]
        if run and (
            len(run) * (length - lengths[run[-1]]) > RUN_COST
            or (len(run) + 1) * length > RUN_PIECES
        ):
            yield run
            run = []
        run.append(position)
    if run:
        yield run
