"""How soon the service is whole again after a fault."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import msgspec
import psycopg

from bench.chaos.callers import FOUND, STORED, acknowledge, message
from bench.chaos.ledger import TENANTS
from bench.chaos.scene import Felt, Scene
from bench.chaos.stage import APIS, BEAT, MAINTENANCE, WORKERS, Stage
from bench.connection import Answer, Connection
from bench.serving import JSON

PARTS: dict[Felt, tuple[str, ...]] = {
    "api": APIS,
    "work": WORKERS,
    "beat": (BEAT, MAINTENANCE),
}
LIMITS: dict[Felt, float] = {"api": 10.0, "work": 30.0, "beat": 30.0}
POLL_SECONDS = 0.1
# Beyond the limit it is wrong, and still to be known how long it took.
PATIENCE_SECONDS = 120.0
PROBE_SECONDS = 10.0
DONE = "select embedding_status from messages where id = %s"


class Shortage:
    """How long the parts behind `felt` are ready to run from now on, and get no processor.

    A start on a machine that does much else takes long, which is no fault of the service: so the
    limits hold of what is left. Of several parts the one counts that lacked most.
    """

    def __init__(self, stage: Stage, felt: Felt) -> None:
        self._stage = stage
        self._names = PARTS[felt]
        self._before = self._waited()

    @property
    def seconds(self) -> float:
        """So far. A process that was started since counts from its start."""
        now = self._waited()
        return max(
            sum(waited - self._before[name].get(pid, 0.0) for pid, waited in now[name].items())
            for name in self._names
        )

    def _waited(self) -> dict[str, dict[int, float]]:
        return {name: self._stage.kept[name].waited() for name in self._names}


def wait_for_api(scene: Scene, since: float) -> tuple[float, str]:
    """The seconds from `since` until every API process stores and searches; a probe's id."""
    probe = ""
    for url in scene.stage.urls.values():
        while not (probe := scene.stage.run(probed(scene, url))):
            if time.monotonic() - since > PATIENCE_SECONDS:
                return PATIENCE_SECONDS, ""
            time.sleep(POLL_SECONDS)
    return time.monotonic() - since, probe


async def probed(scene: Scene, url: str) -> str:
    """The id of a message that the process at `url` has stored, if it searches too."""
    connection = Connection(url, {"x-api-key": scene.stage.operator_key})
    body = message(scene.asker, TENANTS[0])
    query = f"/v1/memory/search?tenant_id={TENANTS[0]}&query=probe"
    try:
        with suppress(OSError, TimeoutError):
            posted = await within(connection, "POST", "/v1/messages", body)
            found = await within(connection, "GET", query)
            if posted.status in STORED and found.status in FOUND:
                return acknowledge(scene.asker, [body], posted)[0]
            if posted.status in STORED:
                acknowledge(scene.asker, [body], posted)
        return ""
    finally:
        connection.close()


async def within(
    connection: Connection, method: str, target: str, body: dict[str, str] | None = None
) -> Answer:
    """An answer that comes before long; raises `OSError` or `TimeoutError`."""
    async with asyncio.timeout(PROBE_SECONDS):
        sent = msgspec.json.encode(body) if body else b""
        return await connection.request(method, target, sent, JSON if body else {})


class Recovery:
    """Waits in a thread until something is whole again; `seconds` is how long that took."""

    def __init__(self, scene: Scene, felt: Felt, since: float, whole: Callable[[], bool]) -> None:
        self.felt = felt
        self.shortage = Shortage(scene.stage, felt)
        self.starved = 0.0
        self.since = since
        self.seconds: float | None = None
        self._whole = whole
        self._thread = threading.Thread(target=self._wait, daemon=True)
        self._thread.start()

    @property
    def under_way(self) -> bool:
        """Whether it is still waited for."""
        return self._thread.is_alive()

    def _wait(self) -> None:
        while time.monotonic() - self.since < PATIENCE_SECONDS:
            with suppress(psycopg.Error):
                if self._whole():
                    self.seconds = time.monotonic() - self.since
                    self.starved = self.shortage.seconds
                    return
            time.sleep(POLL_SECONDS)


def work_resumes(scene: Scene, probe: str, since: float) -> Recovery:
    """Until the message `probe` is embedded."""

    def whole() -> bool:
        with psycopg.connect(scene.stage.database, autocommit=True, connect_timeout=5) as found:
            row = found.execute(DONE, [probe]).fetchone()
        return row == ("completed",)

    return Recovery(scene, "work", since, whole)


def beat_resumes(scene: Scene, since: float) -> Recovery:
    """Until a sweep that beat has sent after the fault is done."""
    before: list[float] = []

    def whole() -> bool:
        done = scene.stage.sweeps_done()
        if done is None:
            return False
        # A worker that has been started again counts anew.
        if not before or done < before[0]:
            before[:] = [done]
        # One may have been sent before.
        return done > before[0] + 1

    return Recovery(scene, "beat", since, whole)
