"""When the statistics of a tenant may be old."""

from collections import defaultdict

# After so much growth, as a share and in messages, it is worth looking.
GROWTH = 0.1
GROWTH_MIN = 250


class Growth:
    """When a tenant has grown so much that its statistics may be old.

    Each process sees what passes through it alone, so it errs by asking too often, and anew after
    each start; the task looks before it counts.
    """

    def __init__(self) -> None:
        self._seen: dict[str, int] = defaultdict(int)
        self._due: dict[str, float] = {}

    def add(self, tenant_id: str, messages: int) -> bool:
        """Note so many new messages; whether statistics may be old."""
        self._seen[tenant_id] += messages
        if self._seen[tenant_id] < self._due.get(tenant_id, 0):
            return False
        self._due[tenant_id] = self._seen[tenant_id] * (1 + GROWTH) + GROWTH_MIN
        return True
