"""What each tenant may ask for, and store."""

from collections.abc import Mapping

from memory.limits import Hit, read_limits
from memory.settings import Settings


class TenantLimits:
    """The limits of each tenant, which are the same for all."""

    def __init__(self, settings: Settings) -> None:
        self._requests = read_limits(settings.tenant_rate_limit)
        self._messages = read_limits(settings.tenant_message_limit)

    def hits(self, tenants: Mapping[str, int]) -> list[Hit]:
        """One request to each of `tenants`, and so many messages."""
        hits = [Hit(f"tenant:{each}", limit) for each in tenants for limit in self._requests]
        for each, messages in tenants.items():
            if messages:
                hits += [Hit(f"messages:{each}", limit, messages) for limit in self._messages]
        return hits
