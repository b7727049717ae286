"""A Redis on two servers, one of which serves, with three sentinels who watch over them."""

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import redis

from cli.programs import valkey_program
from tests.ports import free_ports
from tests.processes import wait_until

NAME = "memories"
PASSWORD, SENTINEL_PASSWORD = "a:secret@of/servers", "tell-nobody-of-sentinels"
WRITTEN_PASSWORD = "a%3Asecret%40of%2Fservers"
# When the sentinels take a server for dead.
DOWN_MILLISECONDS = 1_000


class Watched:
    """Two servers and three sentinels on loopback, a process each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers, self.sentinels = free_ports(2), free_ports(3)
        places = ",".join(f"127.0.0.1:{port}" for port in self.sentinels)
        login = f":{WRITTEN_PASSWORD}@{places}/1"
        asked = f"master_name={NAME}&sentinel_password={SENTINEL_PASSWORD}"
        self.url = f"redis+sentinel://{login}?{asked}"
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        folder.mkdir()

    def start(self) -> None:
        """Start all of them and wait until the sentinels know each other and both servers."""
        first, second = self.servers
        common = [f"requirepass {PASSWORD}", f"masterauth {PASSWORD}", 'save ""']
        self._run(first, common)
        self._run(second, [*common, f"replicaof 127.0.0.1 {first}"])
        wait_until(lambda: self._is_answered(first), "the first server answers")
        for port in self.sentinels:
            lines = [
                f"requirepass {SENTINEL_PASSWORD}",
                f"sentinel sentinel-pass {SENTINEL_PASSWORD}",
                f"sentinel monitor {NAME} 127.0.0.1 {first} 2",
                f"sentinel auth-pass {NAME} {PASSWORD}",
                f"sentinel down-after-milliseconds {NAME} {DOWN_MILLISECONDS}",
                f"sentinel failover-timeout {NAME} 5000",
            ]
            self._run(port, lines, "--sentinel")
        wait_until(lambda: all(map(self._knows_all, self.sentinels)), "all know each other")

    def primary(self, of: int = 0) -> int:
        """The port of the server that a sentinel, the first if not another, takes for at work."""
        with redis.Redis(port=self.sentinels[of], password=SENTINEL_PASSWORD) as sentinel:
            return int(sentinel.sentinel_master(NAME)["port"])

    def client(self, port: int) -> redis.Redis:
        """One of the server at `port`, in the database that the URL names."""
        return redis.Redis(port=port, password=PASSWORD, db=1, decode_responses=True)

    def freeze(self, port: int) -> None:
        """The server, or sentinel, at `port` takes connections and says nothing from now on."""
        self._processes[port].send_signal(signal.SIGSTOP)

    def kill(self, port: int) -> None:
        """End the server, or sentinel, at `port` at once."""
        self._processes[port].kill()
        self._processes[port].wait(30)

    def stop(self) -> None:
        """End all of them."""
        for port in self._processes:
            self.kill(port)

    def _is_answered(self, port: int) -> bool:
        with contextlib.suppress(redis.RedisError), self.client(port) as client:
            return bool(client.ping())
        return False

    def _knows_all(self, port: int) -> bool:
        with (
            contextlib.suppress(redis.RedisError),
            redis.Redis(port=port, password=SENTINEL_PASSWORD) as sentinel,
        ):
            known = sentinel.sentinel_master(NAME)
            return (known["num-slaves"], known["num-other-sentinels"]) == (1, 2)
        return False

    def _run(self, port: int, lines: list[str], *arguments: str) -> None:
        place = self.folder / str(port)
        place.mkdir()
        file = place / "server.conf"
        common = ["bind 127.0.0.1", f"port {port}", f'dir "{place}"', "logfile server.log"]
        file.write_text("\n".join([*common, *lines]) + "\n")
        self._processes[port] = subprocess.Popen([valkey_program(), str(file), *arguments])


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """Servers and sentinels that are ended in the end."""
    found = Watched(folder)
    try:
        found.start()
        yield found
    finally:
        found.stop()
