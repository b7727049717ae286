"""What was asked of the service and acknowledged, which it is held to."""

import threading
from dataclasses import dataclass, field

TENANTS = ("acme", "globex", "initech", "umbrella")
# Retention is at work here: what is beyond its most messages is archived.
AGEING = "ageing"
# Letters that no stemmer takes off.
LETTERS = "bcdfghjkmnpqrtvwxz"
POISON = "poisonous"


@dataclass(frozen=True)
class Said:
    """A message that was acknowledged."""

    id: str
    tenant_id: str
    content: str


@dataclass
class StartedJob:
    """A job that was acknowledged; `cancelled` where we asked for that."""

    id: str
    kind: str
    tenant_id: str
    cancelled: bool = False


@dataclass
class Ledger:
    """Written by the callers, read by who checks. Safe from several threads."""

    said: dict[str, Said] = field(default_factory=dict)
    """By content."""
    jobs: dict[str, StartedJob] = field(default_factory=dict)
    searchable: list[Said] = field(default_factory=list)
    """Those that no retention takes away."""
    asked: int = 0
    wrong: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def words(self, about: str) -> str:
        """A content like no other's, whose first word stands in no other."""
        with self._lock:
            self.asked += 1
            number = self.asked
        word = ""
        while number:
            number, digit = divmod(number, len(LETTERS))
            word += LETTERS[digit]
        return f"wx{word} {about}"

    def acknowledge(self, said: Said) -> None:
        """The service has said that it stores `said`."""
        with self._lock:
            before = self.said.get(said.content)
            if before is None:
                self.said[said.content] = said
                if said.tenant_id != AGEING:
                    self.searchable.append(said)
            elif before.id != said.id:
                self.wrong.append(f"a key was not honoured: {before.id} and {said.id}")

    def acknowledge_job(self, job: StartedJob) -> None:
        """The service has said that it will do `job`."""
        with self._lock:
            self.jobs[job.id] = job

    def note_wrong(self, what: str) -> None:
        """Something was answered that should not have been."""
        with self._lock:
            self.wrong.append(what)

    def all_said(self, tenant_id: str | None = None) -> list[Said]:
        """What was acknowledged so far, of all tenants or of one."""
        with self._lock:
            said = list(self.said.values())
        return [each for each in said if tenant_id in (None, each.tenant_id)]

    def all_jobs(self) -> list[StartedJob]:
        """The jobs that were acknowledged so far."""
        with self._lock:
            return list(self.jobs.values())
