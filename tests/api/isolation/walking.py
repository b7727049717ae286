"""Goes through all operations while one statement after the other goes out with a wall down."""

import time
from collections.abc import Collection, Iterator
from typing import NamedTuple

import redis
from sqlalchemy import text

from tests.api.isolation.attacking import Attacker
from tests.api.isolation.operations import OPERATIONS, Aim, Place, takes_ids, takes_tenant
from tests.api.isolation.planted import (
    ALSO_MINE,
    MINE,
    begin_anew,
    markers_in_own_rows,
    rows_of_others,
)
from tests.api.isolation.walls import Breach, Recording

BREACH_SECONDS = 20.0
# What is done for them is done together, for several requests and for none of them.
LEAVE_WORK = {
    ("post", "/v1/messages"),
    ("post", "/v1/messages/batch"),
    ("post", "/v1/messages/{message_id}/restore"),
    ("get", "/v1/memory/search"),
}
ONE_IS_LARGE = text("update term_statistics set messages = 1000000 where tenant_id = :tenant_id")


class Walk(NamedTuple):
    """All operations with all that one may aim at, by a key for two tenants."""

    attacker: Attacker
    redis_url: str
    places: Collection[Place] = OPERATIONS

    def calls(self) -> Iterator[tuple[Place, Aim]]:
        """The operations with what they are aimed at."""
        own, foreign = self.attacker.own, self.attacker.foreign
        for place in self.places:
            operation = OPERATIONS[place]
            yield place, own
            if takes_tenant(operation):
                yield place, own.at(ALSO_MINE)
            if takes_ids(operation):
                yield place, foreign.at(MINE)
                if self.attacker.may_leave_out_tenant(place):
                    yield place, own.at(None)
                    yield place, foreign.at(None)

    def go(self, place: Place, aim: Aim) -> list[str]:
        """What the answers tell of the victim that they must not."""
        found = []
        begin_anew(self.attacker.owner, self.attacker.own)
        for call in OPERATIONS[place].calls(aim):
            # Twice: the second time there may be an answer that is kept.
            for _ in range(2 if "search" in place[1] else 1):
                response = self.attacker.ask(place, call, self.attacker.planted.keys.both)
                found += self.attacker.leaks(call, f"{response.text} {response.headers}")
        return found

    def record(self) -> Recording:
        """All of them once, with all walls up."""
        recording = Recording()
        self.forget()
        self.attacker.statements.change = recording
        for place, aim in self.calls():
            recording.call = place, aim
            assert not self.go(place, aim)
        self.attacker.statements.change = None
        return recording

    def breach(self, recording: Recording, breach: Breach) -> set[str]:
        """What is seen of the victim, or changed, when a statement's wall is down."""
        before = rows_of_others(self.attacker.owner)
        found: set[str] = set()
        deadline = time.monotonic() + BREACH_SECONDS
        self.attacker.statements.change = breach
        while not breach.times:
            assert time.monotonic() < deadline, f"{breach.name} was not sent again"
            self.forget()
            calls = recording.calls[breach.name]
            if breach.name in recording.beside:
                calls = calls + [each for each in self.calls() if each[0] in LEAVE_WORK]
            for place, aim in calls:
                found |= set(self.go(place, aim))
        self.attacker.statements.change = None
        after = rows_of_others(self.attacker.owner)
        found |= {f"changed: {table}" for table in after if after[table] != before[table]}
        return found | markers_in_own_rows(self.attacker.owner, self.attacker.planted)

    def forget(self) -> None:
        """Have searches go to the database, and in a tenant that is taken for large by its index.

        Retention counts it anew when it has put something away.
        """
        self.attacker.owner.execute(ONE_IS_LARGE, {"tenant_id": ALSO_MINE})
        if self.redis_url:
            with redis.Redis.from_url(self.redis_url) as client:
                client.flushall()
