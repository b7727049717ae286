"""The embedding model alone, in a process of its own: what there is to reach.

    python -m bench.speed.model < texts

Reads an `Ask` as JSON and writes what it `Found`, as JSON.
"""

import subprocess
import sys
import time
from collections.abc import Sequence

import msgspec
import psutil  # type: ignore[import-untyped]

from memory.embedding.batching import embed_contents
from memory.embedding.onnx import OnnxEmbedder

WARM_TEXTS = 8
ENOUGH_SECONDS = 60


class Ask(msgspec.Struct, frozen=True):
    """Texts to embed, `batch` at a time, for `seconds` at most."""

    texts: Sequence[str]
    batch: int
    seconds: float


class Found(msgspec.Struct, frozen=True):
    """Texts a second, their parts counted as texts, and the processor time of one of them.

    Then the median of a batch, and the memory of the process at rest.
    """

    per_second: float
    busy_ms: float
    batch_ms: float
    megabytes: float


def run(ask: Ask) -> Found:
    """Embed as a worker does, and nothing else."""
    embedder = OnnxEmbedder()
    embed_contents(embedder, ask.texts[:WARM_TEXTS])
    megabytes = psutil.Process().memory_info().rss / 1e6
    taken: list[float] = []
    done = place = 0
    began, busy = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < ask.seconds:
        batch = [ask.texts[(place + each) % len(ask.texts)] for each in range(ask.batch)]
        place += ask.batch
        started = time.perf_counter()
        done += sum(len(vectors) for vectors in embed_contents(embedder, batch))
        taken.append(time.perf_counter() - started)
    busy = time.process_time() - busy
    batch_ms = 1000 * sorted(taken)[len(taken) // 2]
    return Found(done / sum(taken), 1000 * busy / done, batch_ms, megabytes)


def alone(texts: Sequence[str], batch: int, seconds: float) -> Found:
    """The same in a process of its own. Raises `subprocess.CalledProcessError`."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.speed.model"],
        input=msgspec.json.encode(Ask(texts, batch, seconds)),
        stdout=subprocess.PIPE,
        timeout=seconds + ENOUGH_SECONDS,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=Found)


if __name__ == "__main__":
    told = msgspec.json.decode(sys.stdin.buffer.read(), type=Ask)
    sys.stdout.buffer.write(msgspec.json.encode(run(told)))
