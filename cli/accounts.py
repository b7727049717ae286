"""The account that the embedded database runs under: PostgreSQL refuses to be root."""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.errors import StartError

UNPRIVILEGED = "nobody"


@dataclass(frozen=True)
class Account:
    """A user of this machine to start processes as."""

    name: str
    uid: int
    gid: int

    def popen_arguments(self) -> dict[str, Any]:
        """What to give `subprocess` so that the process runs as this account and no more."""
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can(self, *command: str | Path) -> bool:
        """Whether `command` runs and succeeds under this account, within ten seconds.

        Raises `StartError` when this process may not become the account at all.
        """
        try:
            done = subprocess.run(  # noqa: S603 - a probe of ours
                command,
                cwd="/",
                env={"PATH": os.defpath},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=10,
                check=False,
                **self.popen_arguments(),
            )
        except subprocess.TimeoutExpired:
            return False
        except OSError:
            if command[0] == "/bin/sh":
                raise StartError(
                    f"PostgreSQL does not run as root, and this root may not become {self.name}."
                    " Start as an ordinary user, or set MEMORY_DATABASE_URL to a server of yours."
                ) from None
            return False
        return done.returncode == 0

    def reaches(self, folder: Path) -> bool:
        """Whether this account may pass through `folder` and all its parents."""
        return self.can("/bin/sh", "-c", 'test -x "$0"', folder)

    def own(self, path: Path) -> None:
        """Give `path` to this account."""
        os.chown(path, self.uid, self.gid)


def account_for(*paths: Path) -> Account | None:
    """The account for a database: the first non-root owner of `paths` that exists and has a name
    (initdb wants one), else `nobody`. None for an ordinary user, who is everything themselves.

    Raises `StartError` when there is no such account.
    """
    if os.geteuid() != 0:
        return None
    for path in paths:
        status = path.stat() if path.exists() else None
        if status and status.st_uid != 0 and (name := _name(status.st_uid)):
            return Account(name, status.st_uid, status.st_gid)
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise StartError(
            f"PostgreSQL does not run as root, and this machine has no user {UNPRIVILEGED!r}."
            " Start as an ordinary user, or set MEMORY_DATABASE_URL to a server of yours."
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _name(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
