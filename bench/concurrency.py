"""Several coroutines at once, with the error of the first that fails as it is."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, TypeVar

Outcome = TypeVar("Outcome")


async def together(coroutines: Iterable[Coroutine[Any, Any, Outcome]]) -> list[Outcome]:
    """The outcomes in order. The first failure ends the others and is raised, in no group."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
