"""Questions answered in lots: none waits for nothing, and none gets an answer of before."""

import asyncio
from collections.abc import Sequence

import pytest

from api.gathering import Gathering
from db.sessions import BOUND


class Oracle:
    """Answers in lots, each when it is let."""

    def __init__(self) -> None:
        self.lots: list[list[int]] = []
        self.may_answer = asyncio.Semaphore(0)
        self.bound: list[object] = []

    async def answer(self, lot: Sequence[int]) -> list[int]:
        self.lots.append(list(lot))
        self.bound.append(BOUND.get())
        await self.may_answer.acquire()
        if 13 in lot:
            raise ValueError("of ill omen")
        return [2 * each for each in lot]


async def asked(gathering: Gathering[int, int], *questions: int) -> list[asyncio.Task[int]]:
    """The askers of `questions`, all of whom wait."""
    tasks = [asyncio.create_task(gathering.ask(each)) for each in questions]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


@pytest.fixture
def oracle() -> Oracle:
    return Oracle()


@pytest.fixture
def gathering(oracle: Oracle) -> Gathering[int, int]:
    return Gathering(oracle.answer, most=3)


async def test_what_comes_meanwhile_is_the_next_lot(
    oracle: Oracle, gathering: Gathering[int, int]
) -> None:
    tasks = await asked(gathering, 1)
    tasks += await asked(gathering, 2, 3, 4, 5)
    assert oracle.lots == [[1]]
    for _ in range(3):
        oracle.may_answer.release()
    assert await asyncio.gather(*tasks) == [2, 4, 6, 8, 10]
    assert oracle.lots == [[1], [2, 3, 4], [5]]
    oracle.may_answer.release()
    assert await gathering.ask(6) == 12


async def test_the_same_question_is_asked_anew(
    oracle: Oracle, gathering: Gathering[int, int]
) -> None:
    tasks = await asked(gathering, 1)
    tasks += await asked(gathering, 1)
    oracle.may_answer.release()
    oracle.may_answer.release()
    assert await asyncio.gather(*tasks) == [2, 2]
    assert oracle.lots == [[1], [1]]


async def test_an_error_is_for_all_of_its_lot_and_no_other(
    oracle: Oracle, gathering: Gathering[int, int]
) -> None:
    tasks = await asked(gathering, 12, 13)
    tasks += await asked(gathering, 14)
    oracle.may_answer.release()
    oracle.may_answer.release()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in outcomes] == [ValueError, ValueError, int]


async def test_who_goes_takes_nobody_along(oracle: Oracle, gathering: Gathering[int, int]) -> None:
    first, second = await asked(gathering, 1, 2)
    first.cancel()
    await asyncio.sleep(0)
    oracle.may_answer.release()
    assert await second == 4
    oracle.may_answer.release()
    assert await gathering.ask(3) == 6


async def test_a_lot_is_asked_in_nobodys_name(
    oracle: Oracle, gathering: Gathering[int, int]
) -> None:
    BOUND.set(frozenset({"acme"}))
    oracle.may_answer.release()
    assert await gathering.ask(1) == 2
    assert oracle.bound == [None]


async def test_a_lot_that_gets_no_answer_holds_up_no_other(
    oracle: Oracle, gathering: Gathering[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.gathering.SECONDS", 0.05)
    (silent,) = await asked(gathering, 1)
    gone, staying = await asked(gathering, 2, 3)
    gone.cancel()
    with pytest.raises(TimeoutError):
        await silent
    oracle.may_answer.release()
    assert await staying == 6
    assert oracle.lots == [[1], [3]]
