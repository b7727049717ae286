"""What is stored is read by turns, so that nobody's long texts hold up everybody else."""

import asyncio
import threading
import time
from typing import Any

import pytest

from api.reading import LOT_CHARACTERS, MANY_BYTES, Reader, lots_of, read_lot
from memory.lexical.analysis import analyser
from memory.messages import NewMessage

LONG = "peanuts " * (LOT_CHARACTERS // 8)
ANALYSERS = {tenant_id: analyser("english") for tenant_id in ("acme", "globex")}


def said(content: str, tenant_id: str = "acme") -> NewMessage:
    return NewMessage(tenant_id=tenant_id, conversation_id="c-1", role="user", content=content)


class Counted:
    """Stands for the reading of a message: who was read in which order, and how many at once."""

    def __init__(self) -> None:
        self.order: list[str] = []
        self.at_once = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, _: Any, tenant_id: str, *__: Any) -> None:
        with self._lock:
            self.order.append(tenant_id)
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        time.sleep(0.02)
        with self._lock:
            self.at_once -= 1


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted()
    monkeypatch.setattr("api.reading.content_entry", counted)
    return counted


async def test_it_gives_what_is_there_in_its_order() -> None:
    new = [said(f"{number} {'peanuts ' * 1_000}") for number in range(9)]
    assert [len(lot) for lot in lots_of(new)] == [2, 2, 2, 2, 1]
    assert await Reader().read(new, ANALYSERS) == read_lot(new, ANALYSERS)
    assert await Reader().read(new[:1], ANALYSERS) == read_lot(new[:1], ANALYSERS)
    assert await Reader().read([], ANALYSERS) == ([], [])


async def test_who_has_much_waits_for_who_has_little(counted: Counted) -> None:
    reader = Reader()
    many = [said(LONG) for _ in range(10)]
    batches = [asyncio.create_task(reader.read(many, ANALYSERS)) for _ in range(4)]
    await asyncio.sleep(0.05)
    await reader.read([said(LONG, "globex")], ANALYSERS)
    # After at most one lot of each who was there before, and the one that was being read.
    assert not any(batch.done() for batch in batches)
    await asyncio.gather(*batches)
    assert len(counted.order) == 41
    assert counted.order.index("globex") < 15
    assert counted.most == 1


async def test_nothing_is_read_on_for_a_caller_who_is_gone(counted: Counted) -> None:
    new = [said(LONG) for _ in range(50)]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(Reader().read(new, ANALYSERS), 0.1)
    read = len(counted.order)
    await asyncio.sleep(0.2)
    assert len(counted.order) <= read + 1 < 50


async def test_a_large_body_is_decoded_beside_the_loop() -> None:
    here = threading.get_ident()
    seen: list[bool] = []

    def decode(body: bytes, _: int) -> int:
        seen.append(threading.get_ident() == here)
        return len(body)

    assert await Reader().decode(decode, b"x" * MANY_BYTES, 1) == MANY_BYTES
    assert await Reader().decode(decode, b"x" * (MANY_BYTES + 1), 1) == MANY_BYTES + 1
    assert seen == [True, False]
