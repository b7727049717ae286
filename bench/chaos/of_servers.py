"""Faults of the servers, and of the ways to them."""

import contextlib
import os
import signal
from pathlib import Path

import psycopg
import redis

from bench.chaos.judging import Excuse
from bench.chaos.proxy import Manner
from bench.chaos.scene import ALL, API, BEAT, WORK, End, Fault, Scene, over

AWAY: frozenset[Excuse] = frozenset({"503"})
# The service works on without Redis, but for what is kept there.
QUEUE = WORK | BEAT
# So little that nothing more can be written.
FULL_BYTES = "1mb"
REFUSE = "alter database memory with allow_connections false"
ADMIT = "alter database memory with allow_connections true"
THROW_OUT = "select pg_terminate_backend(pid) from pg_stat_activity where datname = 'memory'"
BALLAST = "ballast"
CHUNK_BYTES = 1 << 20


def kill(scene: Scene, name: str) -> End:
    """Kill a server."""
    scene.stage.kept[name].signal(signal.SIGKILL)
    return over


def kill_backend(scene: Scene) -> End:
    """Kill one of PostgreSQL's processes; it then throws everybody out and recovers."""
    processes = scene.stage.kept["postgres"].processes()[1:]
    if processes:
        scene.numbers.choice(processes).kill()
    return over


def stop(scene: Scene, name: str) -> End:
    """Stop a server until the fault ends."""
    kept = scene.stage.kept[name]
    kept.signal(signal.SIGSTOP)
    return lambda: kept.signal(signal.SIGCONT)


def behave(scene: Scene, name: str, manner: Manner) -> End:
    """Have the way to a server refuse, or swallow what is sent; connections may not survive it."""
    stage, proxy = scene.stage, scene.stage.proxies[name]
    cut = scene.numbers.random() < 0.5
    stage.run(proxy.behave(manner))

    def end() -> None:
        if cut:
            stage.loop.call_soon_threadsafe(proxy.cut)
        stage.run(proxy.behave("open"))

    return end


def empty(scene: Scene) -> End:
    """Have Valkey forget everything."""
    with client(scene) as valkey:
        valkey.flushall()
    return over


def fill(scene: Scene) -> End:
    """Have Valkey refuse to write."""
    with client(scene) as valkey:
        valkey.config_set("maxmemory", FULL_BYTES)

    def end() -> None:
        with client(scene) as again:
            again.config_set("maxmemory", "0")

    return end


def client(scene: Scene) -> redis.Redis:
    """A client of Valkey, past the proxy."""
    return redis.Redis.from_url(scene.stage.valkey.url, socket_timeout=10)


def refuse(scene: Scene) -> End:
    """Have PostgreSQL take no connection to our database, and end those that there are."""
    server = scene.stage.database.rpartition("/")[0] + "/postgres"
    with psycopg.connect(server, autocommit=True) as administrator:
        administrator.execute(REFUSE)
        administrator.execute(THROW_OUT)

    def end() -> None:
        with psycopg.connect(server, autocommit=True) as again:
            again.execute(ADMIT)

    return end


def fill_disk(scene: Scene) -> End:
    """Fill the file system of the database until the fault ends."""
    ballast = scene.stage.folder / "pg" / BALLAST
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(CHUNK_BYTES))
    return lambda: ballast.unlink(missing_ok=True)


def has_small_disk(folder: Path) -> bool:
    """Whether the database of `folder` lies on a file system of its own, to be filled."""
    place = folder / "pg"
    return place.exists() and os.path.ismount(place)


FAULTS = (
    Fault("valkey killed", QUEUE, lambda scene: kill(scene, "valkey")),
    Fault("valkey stopped", QUEUE, lambda scene: stop(scene, "valkey")),
    Fault("valkey emptied", QUEUE, empty),
    Fault("valkey full", QUEUE, fill),
    Fault("broker refuses", QUEUE, lambda scene: behave(scene, "valkey", "refusing")),
    Fault("broker is a black hole", QUEUE, lambda scene: behave(scene, "valkey", "silent")),
    Fault("postgres killed", API | WORK, lambda scene: kill(scene, "postgres"), AWAY),
    Fault("postgres backend killed", API | WORK, kill_backend, AWAY),
    Fault("postgres stopped", API | WORK, lambda scene: stop(scene, "postgres"), AWAY),
    Fault(
        "postgres refuses", API | WORK, lambda scene: behave(scene, "postgres", "refusing"), AWAY
    ),
    Fault(
        "postgres is a black hole",
        API | WORK,
        lambda scene: behave(scene, "postgres", "silent"),
        AWAY,
        (1.0, 7.0),
    ),
    Fault("postgres takes no connections", API | WORK, refuse, AWAY),
)
DISK_FULL = Fault("disk full", ALL, fill_disk, AWAY)
