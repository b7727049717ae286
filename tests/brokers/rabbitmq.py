"""RabbitMQ, where `make rabbitmq` has put it: a server of a test's own."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import amqp
import psutil
import pytest

from tests.ports import free_ports
from tests.processes import wait_until

FOLDER = Path(__file__).parents[2] / ".programs" / "rabbitmq" / "bin"
USER, PASSWORD = "memory", "a:secret@of/rabbits"
WRITTEN_PASSWORD = "a%3Asecret%40of%2Frabbits"

has_rabbitmq = pytest.mark.skipif(
    not all((FOLDER / name).exists() for name in ("rabbitmq-server", "epmd")),
    reason="RabbitMQ is not here: `make rabbitmq` gets it, where apt is or it is on PATH",
)


class RabbitMQ:
    """A server on loopback, with a name server for itself: two processes in one group each."""

    def __init__(self, folder: Path, options: str = "") -> None:
        """`options` are further lines of its configuration."""
        self.folder = folder
        self.port, self._names_port, self._nodes_port = free_ports(3)
        self.url = f"amqp://{USER}:{WRITTEN_PASSWORD}@127.0.0.1:{self.port}//"
        self._names: subprocess.Popen[bytes] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        lines = (
            f"listeners.tcp.1 = 127.0.0.1:{self.port}",
            f"default_user = {USER}",
            f"default_pass = {PASSWORD}",
            "log.file = false",
            "log.console = true",
            # Or it blocks who sends, on a machine whose disk is rather full.
            "disk_free_limit.absolute = 1MB",
            options,
        )
        (folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (folder / "plugins").write_text("[].\n")

    @property
    def environment(self) -> dict[str, str]:
        """All that it would else look for on the machine."""
        files = {
            "HOME": "",
            "RABBITMQ_MNESIA_BASE": "data",
            "RABBITMQ_LOG_BASE": "log",
            "RABBITMQ_CONFIG_FILE": "rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": "advanced.config",
            "RABBITMQ_CONF_ENV_FILE": "none",
            "RABBITMQ_ENABLED_PLUGINS_FILE": "plugins",
            "RABBITMQ_PID_FILE": "pid",
        }
        return {
            **os.environ,
            **{name: str(self.folder / file) for name, file in files.items()},
            "RABBITMQ_NODENAME": f"memory-{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._nodes_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }

    def start(self) -> None:
        """Start it and wait until it serves."""
        if self._names is None:
            names = ["-port", str(self._names_port), "-address", "127.0.0.1"]
            self._names = self._run("epmd", *names)
            wait_until(lambda: listens(self._names_port), "epmd listens")
        self._server = self._run("rabbitmq-server")
        wait_until(self.answers, "RabbitMQ answers", 60)

    def answers(self) -> bool:
        """Whether it lets its user in."""
        try:
            with amqp.Connection(
                f"127.0.0.1:{self.port}", USER, PASSWORD, connect_timeout=1, read_timeout=1
            ):
                return True
        except (OSError, amqp.AMQPError):
            return False

    def waiting(self, queue: str) -> int:
        """How many tasks wait in `queue`."""
        with amqp.Connection(f"127.0.0.1:{self.port}", USER, PASSWORD) as connection:
            try:
                declared = connection.channel().queue_declare(queue, passive=True)
            except amqp.NotFound:
                return 0
            return int(declared.message_count)

    def forget(self, queues: Iterable[str]) -> None:
        """Drop what waits in `queues`."""
        with amqp.Connection(f"127.0.0.1:{self.port}", USER, PASSWORD) as connection:
            for queue in queues:
                with contextlib.suppress(amqp.NotFound):
                    connection.channel().queue_purge(queue)

    def freeze(self) -> None:
        """It takes connections and says nothing from now on."""
        for process in self._processes():
            process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """End that."""
        for process in self._processes():
            process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once; what it has on disk stays."""
        assert self._server is not None
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        # The script that has started it ends then.
        self._server.wait(30)
        self._server = None

    def stop(self) -> None:
        """End all of it."""
        if self._server is not None:
            self.kill()
        if self._names is not None:
            self._names.kill()
            self._names.wait(30)

    def _processes(self) -> list[psutil.Process]:
        assert self._server is not None
        return psutil.Process(self._server.pid).children(recursive=True)

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{program}.log").open("ab") as log:
            return subprocess.Popen(
                [FOLDER / program, *arguments],
                env=self.environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def listens(port: int) -> bool:
    """Whether somebody does on `port`."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(folder: Path, options: str = "") -> Iterator[RabbitMQ]:
    """A RabbitMQ that is ended in the end."""
    server = RabbitMQ(folder, options)
    try:
        server.start()
        yield server
    finally:
        server.stop()
