"""`aiml up`: the whole service on this machine, in one command."""

import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from cli import greeting
from cli.control import Requests
from cli.embedded import EmbeddedServer
from cli.errors import StartError
from cli.interrupts import Interrupts, Stopped
from cli.leftovers import end, marked
from cli.listening import listening
from cli.lock import FolderLock
from cli.part import INSTANCE, NAME_SUFFIX, Program, command
from cli.postgres import EmbeddedPostgres
from cli.progress import Progress
from cli.readiness import API_ANSWERS_SECONDS, flower_listens, not_ready_because, wants_key
from cli.records import port_is_free, secret
from cli.rolling import Rolling
from cli.start_line import StartLine
from cli.supervisor import Supervisor
from cli.valkey import EmbeddedValkey
from db.revisions import is_newest
from memory.settings import Settings, file_variable, load_settings, variable

# With the others, in the order of which the reverse is a good order to stop in.
SERVING = ("worker", "api")
BESIDE = ("flower", "beat")
ORPHAN_SECONDS = 5.0
# What API and worker take beyond the time that the settings give them to finish: for what is to be
# sent and closed, and for what is to be given back.
BEYOND_SECONDS = 15.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.1


@click.command()
def up() -> None:
    """Run everything: servers, API, worker, beat and Flower, until Ctrl-C."""
    Service(load_settings(), Progress(), Interrupts()).run()


class Service:
    """All parts of the service as children of this process."""

    def __init__(self, settings: Settings, progress: Progress, interrupts: Interrupts) -> None:
        self.settings = settings
        self.folder = settings.data_folder.absolute()
        self._progress = progress
        self._interrupts = interrupts
        self._supervisor = Supervisor(progress.say)
        self._environment: dict[str, str] = {}
        self._sockets: list[socket.socket] = []
        self._programs: dict[str, Program] = {}
        self._line = StartLine()

    def run(self) -> None:
        """Start, watch until a signal comes, stop. Raises `MemoryLayerError`."""
        # What is written from here on, also by the parts, is for this user only.
        os.umask(0o077)
        with FolderLock(self.folder):
            instance = secret(self.folder / "instance")
            self._environment = {INSTANCE: instance, variable("data_dir"): str(self.folder)}
            self._end_orphans(instance)
            check_ports(self.settings)
            requests = Requests(self.folder)
            try:
                self._sockets = listening(self.settings.api_host, self.settings.api_port)
                self._start()
                rolling = Rolling(self._supervisor, self._fresh, self._interrupts.pulse)
                while True:
                    self._interrupts.pulse()
                    self._supervisor.check()
                    if answer := requests.next():
                        self._progress.say("Restarting, for `aiml restart` asks for it.")
                        rolling.restart(self._programs, self._migrate, answer)
                    time.sleep(POLL_SECONDS)
            except Stopped:
                pass
            finally:
                self._stop(instance)

    def _start(self) -> None:
        started = time.monotonic()
        self._start_servers()
        if not is_newest(self._environment[variable("database_url")]):
            with self._progress.stage("Bringing the schema up to date"):
                self._migrate()
        with self._progress.stage(f"Starting {' and '.join(self._serving())}"):
            self._line.begin(len(self._serving()))
            self._wait_ready()
        seconds = time.monotonic() - started
        if self.settings.async_embeddings:
            # Nobody waits for these, and they would be in the way of those that are waited for.
            self._start_parts(BESIDE)
        keyed = wants_key(self.settings)
        for line in greeting.lines(self.settings, self.folder, seconds, keyed=keyed):
            self._progress.say(line)

    def _start_servers(self) -> None:
        """Start those that are not set, and leave the URLs of all in the children's environment.

        Meanwhile the parts that serve are loaded, and wait at the line.
        """
        servers: list[EmbeddedServer] = []
        if not self.settings.database_url:
            servers.append(EmbeddedPostgres(self.folder, pulse=self._interrupts.pulse))
        if self.settings.async_embeddings and not self.settings.redis_url:
            servers.append(EmbeddedValkey(self.folder, pulse=self._interrupts.pulse))
        urls = {"postgres": self.settings.database_url, "valkey": self.settings.redis_url}
        if servers:
            with self._progress.stage(f"Starting the embedded servers in {self.folder}"):
                for server in servers:
                    self._interrupts.pulse()
                    self._supervisor.add(server)
                    urls[server.name] = server.url
                self._know(urls)
                self._start_parts(self._serving(), self._line)
                for server in servers:
                    server.wait_ready()
        else:
            self._know(urls)
            self._start_parts(self._serving(), self._line)
        for server in servers:
            if isinstance(server, EmbeddedPostgres) and not server.files.is_relative_to(
                self.folder
            ):
                self._progress.say(f"The database is in {server.files}: its user has no way here.")

    def _know(self, urls: Mapping[str, str]) -> None:
        named = {variable("database_url"): urls["postgres"], variable("redis_url"): urls["valkey"]}
        self._environment |= {name: url for name, url in named.items() if url}

    def _migrate(self) -> None:
        program = self._program("migrate")
        try:
            program.launch()
            while program.child and program.child.exit_code is None:
                self._interrupts.pulse()
                time.sleep(0.02)
            if program.child and program.child.exit_code != 0:
                program.child.clear()
                raise StartError(program.child.last_lines(3).removeprefix("Error: "))
        finally:
            program.stop()

    def _serving(self) -> Sequence[str]:
        return SERVING if self.settings.async_embeddings else SERVING[1:]

    def _start_parts(self, names: Sequence[str], line: StartLine | None = None) -> None:
        for name in names:
            self._interrupts.pulse()
            self._programs[name] = self._program(name, line=line)
            self._supervisor.add(self._programs[name])

    def _fresh(self, old: Program) -> Program:
        """Another program of the same name, with a ready file of its own."""
        return self._program(old.name, "" if old.ready != self._ready_file(old.name) else "-2")

    def _program(self, name: str, suffix: str = "", line: StartLine | None = None) -> Program:
        # Parts get the URLs themselves; a file that holds one of them would give it twice.
        files = {file_variable("database_url"), file_variable("redis_url")}
        inherited = {key: value for key, value in os.environ.items() if key not in files}
        if not self.settings.database_url:
            # They are about some other server: PGSSLMODE, say, would keep us from our own.
            inherited = {key: value for key, value in inherited.items() if key[:2] != "PG"}
        environment = {**inherited, **self._environment, NAME_SUFFIX: suffix}
        seconds = {
            "api": self.settings.api_drain_seconds
            + self.settings.api_keep_alive_seconds
            + self.settings.api_stop_seconds
            + BEYOND_SECONDS,
            "worker": self.settings.worker_stop_seconds + BEYOND_SECONDS,
        }
        return Program(
            name,
            command(name),
            self.folder / "logs",
            environment,
            seconds.get(name, STOP_SECONDS),
            None if name in ("flower", "migrate") else self._ready_file(name, suffix),
            self._sockets if name == "api" else (),
            (lambda: flower_listens(self.settings)) if name == "flower" else lambda: True,
            line,
        )

    def _ready_file(self, name: str, suffix: str = "") -> Path:
        return self.folder / f"{name}{suffix}.ready"

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + API_ANSWERS_SECONDS
        while reason := self._obstacle():
            self._interrupts.pulse()
            self._supervisor.check_started()
            if time.monotonic() > deadline:
                raise StartError(f"Not ready after {API_ANSWERS_SECONDS:.0f} s: {reason}")
            time.sleep(0.05)

    def _obstacle(self) -> str | None:
        """Why the service is not ready, None when it is."""
        if self.settings.async_embeddings and not self._programs["worker"].at_work:
            return f"the worker takes no tasks ({self.folder / 'logs' / 'worker.log'})"
        if not self._programs["api"].at_work:
            return f"the API does not answer ({self.folder / 'logs' / 'api.log'})"
        return not_ready_because(self.settings)

    def _end_orphans(self, instance: str) -> None:
        orphans = marked(INSTANCE, instance)
        if orphans:
            self._progress.say(f"Stopping {len(orphans)} processes that an earlier start left.")
            end(orphans, signal.SIGTERM, ORPHAN_SECONDS)

    def _stop(self, instance: str) -> None:
        self._progress.say("Stopping ...")
        self._line.close()
        # So that the API alone has them: what it does not take any more is refused.
        for each in self._sockets:
            each.close()
        self._supervisor.stop(self._interrupts.hurried)
        end(marked(INSTANCE, instance), signal.SIGKILL, ORPHAN_SECONDS)
        self._progress.say("All stopped; the data stays where it is.")


def check_ports(settings: Settings) -> None:
    """Raise `StartError` when the API or Flower could not listen."""
    wanted = [("API", settings.api_host, settings.api_port, "api_port")]
    if settings.async_embeddings:
        wanted.append(("Flower", settings.flower_host, settings.flower_port, "flower_port"))
    for what, host, port, field in wanted:
        if port == 0:
            raise StartError(f"{variable(field)}=0: `aiml up` needs to know the port.")
        try:
            free = port_is_free(host, port)
        except OSError as error:
            raise StartError(
                f"The {what} cannot listen on {host}, port {port}: {error.strerror}."
            ) from None
        if not free:
            raise StartError(
                f"Port {port} on {host} is in use; the {what} cannot start there."
                f" Stop what uses it, or set {variable(field)}."
            )
