"""How much a message matters, before anyone has searched for it."""

ROLE_IMPORTANCE = {"user": 0.5, "assistant": 0.45, "system": 0.4, "tool": 0.4}


def importance(role: str, override: float | None) -> float:
    """A share in 0..1: the override as given, or else what the role suggests.

    What a user says is about the user, so it counts a little more than an answer. The spread
    is small, for a role must not push a better match out of an answer.
    """
    return ROLE_IMPORTANCE[role] if override is None else override
