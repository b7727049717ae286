"""A room for each service, in the place of a container.

A folder is made to look like the image's root: system, Python and this project are mounted into it
read-only, secrets, volumes and folders in memory are where compose.yaml says, and nothing else is
there. The process runs in it as the image's user, without capabilities, and with no way to get any.

All rooms share one network in which nobody else is, with an address of its own for each service's
name: a server that listens on loopback alone is not found by the others, as it would be in
containers. What is not as in containers: `networks` keep nobody apart, and no limit is enforced
(what each used is compared with its limits at the end).
"""

import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from tests.compose.images import PROGRAMS, SYSTEM_PATH, UNPACKED, Image, programs
from tests.compose.reading import ROOT, Mount, Service

DEVICES = ("null", "zero", "full", "random", "urandom")
ETC = ("ssl", "ld.so.cache", "alternatives", "localtime", "nsswitch.conf")
SIOCSIFFLAGS, IFF_UP = 0x8914, 1


class Room:
    """The place of one service under `folder`, and the process in it."""

    def __init__(
        self, service: Service, image: Image, folder: Path, python: Path, names: list[str]
    ) -> None:
        """`folder` has `secrets`; `python` is the environment that stands for the image's /app."""
        self.service = service
        self.image = image
        self.user = {"postgres": 999, "valkey": 999}.get(service.user or "", image.user)
        self.log = folder / "logs" / f"{service.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = folder
        # A new one for each start, as a container is.
        self._root = Path(tempfile.mkdtemp(prefix=f"{service.name}-", dir=folder / "rooms"))
        self._build(python, names)

    def start(self) -> None:
        """Run the service's command line with its environment."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._door(), *self.image.entrypoint, *self.service.command],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def healthy(self) -> bool:
        """What the service's own health check says."""
        assert self.service.healthcheck
        done = subprocess.run(
            [*self._door(), *self.service.healthcheck],
            env=self._environment(),
            capture_output=True,
            timeout=10,
            check=False,
        )
        return done.returncode == 0

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        assert self.process
        return self.process.poll()

    def used(self) -> tuple[int, int]:
        """Bytes of memory and tasks (threads) that its processes have now."""
        assert self.process
        family = [psutil.Process(self.process.pid)]
        family += family[0].children(recursive=True)
        # Shared pages, such as those of PostgreSQL's buffers, once: as a container's limit has it.
        memory = sum(process.memory_full_info().pss for process in family)
        return memory, sum(process.num_threads() for process in family)

    def stop(self) -> int | None:
        """Stop it as the engine does; its exit code, None when it had to be killed."""
        assert self.process
        ends = signal.SIGINT if self.image.entrypoint == ["image-postgres"] else signal.SIGTERM
        self.process.send_signal(ends)
        try:
            return self.process.wait(self.service.stop_seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            return None

    def _door(self) -> list[str]:
        """What leads a command into the room, without root's rights."""
        number = str(self.user)
        return [
            *("chroot", str(self._root), "setpriv", "--reuid", number, "--regid", number),
            *("--clear-groups", "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all", "--"),
        ]

    def _environment(self) -> dict[str, str]:
        wanted = {"PATH": SYSTEM_PATH, **self.image.environment, **self.service.environment}
        return {"HOME": "/nonexistent", **wanted}

    def _build(self, python: Path, names: list[str]) -> None:
        mount("-t", "tmpfs", "-o", "mode=755", "room", self._folder_at("/"))
        # Before all else: this project may lie in a folder under /tmp.
        for path in self.service.tmpfs:
            mount("-t", "tmpfs", "-o", "mode=1777", "tmp", self._folder_at(path))
        for name in ("bin", "sbin", "lib", "lib64", "lib32"):
            if (link := Path("/", name)).is_symlink():
                (self._root / name).symlink_to(link.readlink())
            elif link.exists():
                self._bind(link)
        # Of this process's own environment are the programs.
        places = ["/usr", *(f"/etc/{name}" for name in ETC), sys.base_prefix, str(ROOT), sys.prefix]
        for place in (*map(Path, places), made_from(python)):
            self._bind(place)
        if self.image.entrypoint == ["alertmanager"]:
            self._bind(UNPACKED / "share", "/usr/share")
        self._bind(python, "/app")
        # The scripts of an environment name the place where it was made.
        self._bind(python)
        self._system(names)
        for path in self.image.folders:
            os.chown(self._folder_at(path), self.user, self.user)
        for name, file in self.service.secrets.items():
            self._bind(self._folder / file, f"/run/secrets/{name}")
        for entry in self.service.mounts:
            self._mount(entry)
        if self.service.raw.get("read_only"):
            mount("-o", "remount,ro,bind", self._root)

    def _system(self, names: list[str]) -> None:
        """Devices, processes, who is who, and where the others are."""
        etc = self._folder_at("/etc")
        (etc / "passwd").write_text(f"service:x:{self.user}:{self.user}::/nonexistent:/bin/sh\n")
        (etc / "group").write_text(f"service:x:{self.user}:\n")
        hosts = [f"{address(name, names)} {name}\n" for name in names]
        (etc / "hosts").write_text("".join(["127.0.0.1 localhost\n", *hosts]))
        for device in DEVICES:
            self._bind(Path("/dev", device), read_only=False)
        mount("-t", "tmpfs", "-o", "mode=1777", "shm", self._folder_at("/dev/shm"))
        mount("-t", "proc", "proc", self._folder_at("/proc"))
        place = self._folder_at(PROGRAMS)
        for name, program in programs():
            (place / name).symlink_to(program)

    def _mount(self, entry: Mount) -> None:
        if not entry.is_volume:
            self._bind(ROOT / entry.source, entry.target)
            return
        volume = self._folder / "volumes" / entry.source
        if not volume.exists():
            volume.mkdir(parents=True)
            # A new volume has the owner of what the image has there, root where it has nothing.
            os.chown(volume, *([self.user] * 2 if entry.target in self.image.folders else [0, 0]))
        self._bind(volume, entry.target, read_only=entry.read_only)

    def _bind(self, source: Path, target: str = "", *, read_only: bool = True) -> None:
        if not source.exists():
            return
        place = self._root / (target or str(source)).lstrip("/")
        if source.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        mount("--bind", source, place)
        if read_only:
            mount("-o", "remount,ro,bind", place)

    def _folder_at(self, path: str) -> Path:
        place = self._root / path.lstrip("/")
        place.mkdir(parents=True, exist_ok=True)
        return place


def made_from(python: Path) -> Path:
    """The Python that an environment was made from."""
    lines = (python / "pyvenv.cfg").read_text().splitlines()
    return Path(next(line for line in lines if line.startswith("home")).split(" = ")[1]).parent


def programs_of_rooms() -> tuple[str, ...]:
    """What a machine needs for rooms."""
    return ("unshare", "mount", "chroot", "setpriv", "wget")


def address(name: str, names: list[str]) -> str:
    """The address of a service in the network of the rooms."""
    return f"127.0.1.{names.index(name) + 1}"


def raise_loopback() -> None:
    """Turn the loopback of a new network on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh", b"lo", IFF_UP))


def mount(*arguments: str | Path) -> None:
    """`mount`; raises `CalledProcessError`."""
    subprocess.run(["mount", *map(str, arguments)], check=True, timeout=10)
