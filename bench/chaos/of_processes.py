"""Faults of our own processes: killed, or stopped and let go on."""

import contextlib
import signal
import threading

import psutil  # type: ignore[import-untyped]

from bench.chaos.judging import Excuse
from bench.chaos.kept import Kept
from bench.chaos.scene import API, BEAT, WORK, End, Fault, Scene, over
from bench.chaos.stage import APIS, MAINTENANCE, WORKERS
from bench.chaos.stage import BEAT as BEAT_PART

# By then some worker has embedded something; if not, it is killed where it is.
BATCH_SECONDS = 2.0
GONE: frozenset[Excuse] = frozenset({"no answer"})
HANGS: frozenset[Excuse] = frozenset({"no answer", "late", "503"})


def kill(scene: Scene, *names: str) -> End:
    """Kill parts, with what they have started."""
    for name in names:
        scene.stage.kept[name].signal(signal.SIGKILL)
    return over


def stop(scene: Scene, *names: str) -> End:
    """Stop parts until the fault ends."""
    kept = [scene.stage.kept[name] for name in names]
    for each in kept:
        each.signal(signal.SIGSTOP)

    def end() -> None:
        for each in kept:
            each.signal(signal.SIGCONT)

    return end


def kill_in_a_batch(scene: Scene, *, whole: bool) -> End:
    """Kill a worker while the provider has a batch of its, or only the process that embeds."""
    stage, killed = scene.stage, threading.Event()

    def overhear(port: int, _: list[str]) -> None:
        for name in WORKERS:
            if not killed.is_set() and (asking := owner(stage.kept[name], port)):
                killed.set()
                if whole:
                    stage.kept[name].signal(signal.SIGKILL)
                else:
                    asking.kill()

    stage.provider.overhear.append(overhear)
    killed.wait(BATCH_SECONDS)
    stage.provider.overhear.remove(overhear)
    if not killed.is_set():
        stage.kept[scene.numbers.choice(WORKERS)].signal(signal.SIGKILL)
    return over


def owner(kept: Kept, port: int) -> psutil.Process | None:
    """Which process of a part has the connection from `port`."""
    for process in kept.processes():
        with contextlib.suppress(psutil.Error):
            for each in process.net_connections("tcp"):
                if each.laddr and each.laddr.port == port:
                    return process
    return None


def one_api(scene: Scene) -> str:
    """Any of the API's processes."""
    return scene.numbers.choice(APIS)


FAULTS = (
    Fault("api killed", API, lambda scene: kill(scene, one_api(scene)), GONE),
    Fault("all apis killed", API, lambda scene: kill(scene, *APIS), GONE),
    Fault("api stopped", API, lambda scene: stop(scene, one_api(scene)), HANGS),
    Fault("worker killed in a batch", WORK, lambda scene: kill_in_a_batch(scene, whole=True)),
    Fault("embedding process killed", WORK, lambda scene: kill_in_a_batch(scene, whole=False)),
    Fault("workers killed", WORK, lambda scene: kill(scene, *WORKERS)),
    Fault("workers stopped", WORK, lambda scene: stop(scene, *WORKERS), seconds=(0.5, 4.0)),
    Fault("maintenance killed", WORK | BEAT, lambda scene: kill(scene, MAINTENANCE)),
    Fault("maintenance stopped", WORK | BEAT, lambda scene: stop(scene, MAINTENANCE)),
    Fault("beat killed", BEAT, lambda scene: kill(scene, BEAT_PART)),
    Fault("beat stopped", BEAT, lambda scene: stop(scene, BEAT_PART), seconds=(0.5, 4.0)),
)
