"""Run every service of compose.yaml by its own command line, in order, without a container engine.

`make compose-check`; needs root, for rooms are made with mounts. Each service starts when what it
depends on is healthy, in a room of its own (tests/compose/room.py). Then a message is posted and
found by its meaning, Prometheus is asked what it reads, and all are stopped in reverse. Prints one
JSON object.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from tests.compose.images import image
from tests.compose.reading import ROOT, Service, read
from tests.compose.room import Room, address, mount, raise_loopback

HEALTHY_SECONDS = 120.0
SAID = "Anna told me that she cannot eat peanuts, they make her ill."
ASKED = "food allergy"


def main() -> None:
    """Run it and print what was seen; exit code 1 when something was not as it should be."""
    parser = argparse.ArgumentParser(prog="compose-check")
    parser.add_argument("--app", type=Path, default=Path(sys.prefix), help="the image's /app")
    parser.add_argument("--keep", type=Path, help="a new folder for logs, kept")
    parser.add_argument("--again", action="store_true", help="stop all, and start it once more")
    options = parser.parse_args()
    # Nothing that is mounted here is seen elsewhere, and all of it goes with this process.
    mount("--make-rprivate", "/")
    raise_loopback()
    folder = options.keep or Path(tempfile.mkdtemp(prefix="compose-check-"))
    folder.mkdir(exist_ok=True)
    if not options.keep:
        mount("-t", "tmpfs", "-o", "mode=755", "check", folder)
    try:
        check = Check(folder, options.app.resolve())
        print(json.dumps(check.run(again=options.again), indent=1))
    finally:
        if not options.keep:
            # With it goes all that was written, once nobody is in it any more.
            subprocess.run(["umount", "--lazy", folder], check=True, timeout=10)
            folder.rmdir()


class Check:
    """All services that can be run here, in their rooms under `folder`."""

    def __init__(self, folder: Path, app: Path) -> None:
        self._folder = folder
        for part in ("logs", "rooms"):
            (folder / part).mkdir()
        make_secrets(folder)
        services = read()
        self._names = list(services)
        self._images = {name: image(service.image) for name, service in services.items()}
        self._services = {name: one for name, one in services.items() if self._images[name]}
        self._app = app
        self._rooms: dict[str, Room] = {}
        self._healthy_after: dict[str, float] = {}

    def run(self, *, again: bool) -> dict[str, Any]:
        """What was seen, as the object that is printed; with `again`, of the second start."""
        started = time.monotonic()
        try:
            self._start_all(started)
            if again:
                self._start_anew()
            seen = {
                "healthy_after_seconds": self._healthy_after,
                "not_run": sorted(self._images.keys() - self._services.keys()),
                **self._used(),
                **self._asked(),
            }
        except BaseException:
            self._tell_logs()
            raise
        seen["stopped"] = self._stop_all()
        seen["seconds"] = round(time.monotonic() - started, 1)
        return seen

    def _start_all(self, started: float) -> None:
        """Start each when its conditions hold, until all are healthy or have ended in order."""
        while len(self._healthy_after) < len(self._services):
            for name, service in self._services.items():
                if name not in self._rooms and self._may_start(service):
                    found = self._images[name]
                    assert found
                    self._rooms[name] = Room(service, found, self._folder, self._app, self._names)
                    self._rooms[name].start()
                elif name in self._rooms and name not in self._healthy_after:
                    self._look(name, started)
            assert time.monotonic() - started < HEALTHY_SECONDS, f"only {self._healthy_after}"
            time.sleep(0.05)

    def _start_anew(self) -> None:
        """As after `docker compose stop` and `up`: on the volumes that there are."""
        with self._api() as api:
            a_message(api, self._key())
        assert set(self._stop_all().values()) <= {0, -15}
        self._rooms = {}
        self._healthy_after = {}
        self._start_all(time.monotonic())
        with self._api() as api:
            assert found_by_meaning(api, self._key()), "the message is gone"

    def _may_start(self, service: Service) -> bool:
        # One that cannot be run here is taken for healthy.
        wanted = set(service.after) & self._services.keys()
        return wanted <= self._healthy_after.keys()

    def _look(self, name: str, started: float) -> None:
        room = self._rooms[name]
        code = room.exit_code
        if room.service.raw["restart"].startswith("on-failure"):
            assert code in (None, 0), f"{name} ended with {code}"
            good = code == 0
        else:
            assert code is None, f"{name} ended with {code}"
            good = room.healthy()
        if good:
            self._healthy_after[name] = round(time.monotonic() - started, 1)

    def _used(self) -> dict[str, Any]:
        used = {name: room.used() for name, room in self._rooms.items() if room.exit_code is None}
        for name, (memory, tasks) in used.items():
            service = self._services[name]
            assert memory < service.memory_bytes, f"{name} needs {memory} bytes"
            assert tasks < service.processes, f"{name} has {tasks} tasks"
        return {
            "memory_mb": {name: memory // 2**20 for name, (memory, _) in used.items()},
            "tasks": {name: tasks for name, (_, tasks) in used.items()},
        }

    def _asked(self) -> dict[str, Any]:
        user, _, password = (
            (self._folder / "secrets" / "flower_auth").read_text().strip().partition(":")
        )
        flower = f"{self._url('flower', 5555)}/workers"
        assert httpx.get(flower).status_code == 401
        assert httpx.get(flower, auth=(user, password)).status_code == 200
        with self._api() as api:
            found = a_message(api, self._key())
        return {"found": found, **(self._watched() if "prometheus" in self._rooms else {})}

    def _api(self) -> httpx.Client:
        return httpx.Client(base_url=self._url("api", 8000), timeout=10)

    def _key(self) -> dict[str, str]:
        return {"X-API-Key": (self._folder / "secrets" / "api_keys").read_text().strip()}

    def _watched(self) -> dict[str, Any]:
        """What Prometheus reads, and whom it tells."""
        with httpx.Client(base_url=self._url("prometheus", 9090), timeout=10) as client:

            def got(path: str, **parameters: str) -> Any:
                return client.get(f"/api/v1/{path}", params=parameters).json()["data"]

            def read_all() -> list[str]:
                series = got("query", query="up == 1")["result"]
                return sorted(entry["metric"]["instance"] for entry in series)

            targets = len(got("targets")["activeTargets"])
            until(lambda: len(read_all()) == targets, "all targets are read", 30)
            until(
                lambda: got("alertmanagers")["activeAlertmanagers"], "an Alertmanager is known", 30
            )
            told = got("alertmanagers")["activeAlertmanagers"]
            return {"scraped": read_all(), "alertmanagers": [entry["url"] for entry in told]}

    def _stop_all(self) -> dict[str, int | None]:
        """Stop all in reverse; nobody may have to be killed."""
        codes = {}
        for name, room in reversed(self._rooms.items()):
            if room.exit_code is None:
                codes[name] = room.stop()
        return codes

    def _url(self, name: str, port: int) -> str:
        return f"http://{address(name, self._names)}:{port}"

    def _tell_logs(self) -> None:
        for name, room in self._rooms.items():
            end = room.log.read_text(errors="replace")[-2000:]
            print(f"--- {name} (exit code {room.exit_code})\n{end}", file=sys.stderr)


def make_secrets(folder: Path) -> None:
    """What docker/make-secrets makes, in `folder`."""
    (folder / "docker").mkdir()
    script = shutil.copy(ROOT / "docker" / "make-secrets", folder / "docker")
    subprocess.run([script], check=True, stdout=subprocess.DEVNULL, timeout=10)


def a_message(api: httpx.Client, key: dict[str, str]) -> str:
    """Post a message and find it by its meaning; what was found. Without the key, nothing is."""
    body = {"tenant_id": "acme", "conversation_id": "c-1", "role": "user", "content": SAID}
    assert api.post("/v1/messages", json=body).status_code == 401
    posted = api.post("/v1/messages", json=body, headers=key)
    assert posted.status_code == 202, posted.text

    until(lambda: found_by_meaning(api, key), "the message is found by its meaning", 30)
    return found_by_meaning(api, key)[0]


def found_by_meaning(api: httpx.Client, key: dict[str, str]) -> list[str]:
    """What a search finds by words that the message does not have."""
    asked = {"tenant_id": "acme", "query": ASKED}
    answer = api.get("/v1/memory/search", params=asked, headers=key).json()
    return [str(hit["content"]) for hit in answer["items"] if answer["degraded"] is False]


def until(condition: Callable[[], object], what: str, seconds: float) -> None:
    """Wait until `condition` holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)


if __name__ == "__main__":
    main()
