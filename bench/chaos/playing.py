"""A whole run: a service, its callers, the faults, and what is found in the end."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from bench.chaos import of_processes, of_servers, of_surroundings
from bench.chaos.asking import Asker
from bench.chaos.callers import post_batches_for_ever, post_for_ever, search_for_ever
from bench.chaos.ending import account, wait_until_done
from bench.chaos.jobs import ERRANDS, MOVES, have_retention_work, work_for_ever
from bench.chaos.judging import Windows
from bench.chaos.ledger import AGEING, TENANTS, Ledger
from bench.chaos.rounds import Round, Rounds
from bench.chaos.scene import Fault, Scene
from bench.chaos.stage import Stage, staged

KINDS = (*of_processes.FAULTS, *of_servers.FAULTS, *of_surroundings.FAULTS)
CALM_SECONDS = 3.0
POSTERS, BATCHERS, SEARCHERS = 4, 1, 2


@dataclass(frozen=True)
class Plan:
    """What is to be done: faults of `kinds` until there are so many, or the time is over."""

    seed: int
    faults: int
    seconds: float
    ending_seconds: float
    kinds: Sequence[Fault] = KINDS
    jobs: bool = True
    """Whether jobs are run meanwhile. One that is hit goes on within a minute and a half."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    rounds: list[Round]
    ledger: Ledger
    answers: Counter[str]
    drained_seconds: float
    skipped: str


def play(plan: Plan, folder: Path, say: Callable[[str], None] = lambda _: None) -> Outcome:
    """Do it, in `folder`, which a database's user can reach; `say` gets a line for each round."""
    kinds, skipped = with_disk(plan.kinds, folder)
    numbers = random.Random(plan.seed)
    with staged(folder) as stage:
        crowd = Crowd(stage, random.Random(numbers.random()))
        scene = Scene(stage, crowd.ledger, crowd.one(crowd.key), numbers)
        stage.run(have_retention_work(crowd.one(stage.operator_key)))
        rounds = Rounds(scene, crowd.windows, kinds, say)
        try:
            stage.run(crowd.begin(jobs=plan.jobs))
            time.sleep(CALM_SECONDS)
            rounds.make(plan.faults, time.monotonic() + plan.seconds)
            rounds.settle()
        finally:
            stage.run(crowd.end())
        drained = wait_until_done(scene, plan.ending_seconds)
        account(scene)
    return Outcome(rounds.done, crowd.ledger, crowd.answers, drained, skipped)


def with_disk(kinds: Sequence[Fault], folder: Path) -> tuple[Sequence[Fault], str]:
    """The kinds that can be had here, and what cannot."""
    if kinds is not KINDS:
        return kinds, ""
    if of_servers.has_small_disk(folder):
        return (*kinds, of_servers.DISK_FULL), ""
    return kinds, "disk full: only root on Linux can mount a small file system to fill"


class Crowd:
    """All who call while faults are made."""

    def __init__(self, stage: Stage, numbers: random.Random) -> None:
        self.ledger = Ledger()
        self.windows = Windows()
        self.answers: Counter[str] = Counter()
        self.key = caller_key(stage)
        self._stage = stage
        self._numbers = numbers
        self._askers: list[Asker] = []
        self._calling: list[asyncio.Task[None]] = []

    def one(self, key: str) -> Asker:
        """One more, who comes with `key`."""
        numbers = random.Random(self._numbers.random())
        urls = self._stage.urls
        asker = Asker(urls, key, self.ledger, self.windows, self.answers, numbers)
        self._askers.append(asker)
        return asker

    async def begin(self, *, jobs: bool) -> None:
        """Have all of them call."""
        operator = self._stage.operator_key
        works = [
            *(post_for_ever(self.one(self.key)) for _ in range(POSTERS)),
            *(post_batches_for_ever(self.one(self.key)) for _ in range(BATCHERS)),
            *(search_for_ever(self.one(self.key)) for _ in range(SEARCHERS)),
        ]
        if jobs:
            works += [work_for_ever(self.one(operator), each) for each in (ERRANDS, MOVES)]
        self._calling = [asyncio.create_task(each) for each in works]

    async def end(self) -> None:
        """End their calls; raises what one of them has ended with before."""
        for each in self._calling:
            each.cancel()
        outcomes = await asyncio.gather(*self._calling, return_exceptions=True)
        for asker in self._askers:
            asker.close()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome


def caller_key(stage: Stage) -> str:
    """A key of the callers', who are no operators."""
    body = {"tenants": [*TENANTS, AGEING], "scopes": ["read", "write"], "label": "chaos"}
    url = next(iter(stage.urls.values()))
    answer = httpx.post(
        f"{url}/v1/admin/keys", json=body, headers={"x-api-key": stage.operator_key}, timeout=20
    )
    answer.raise_for_status()
    return str(answer.json()["key"])
