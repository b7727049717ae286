"""How new something is."""

from datetime import datetime

SECONDS_PER_DAY = 86_400.0


def recency(at: datetime, now: datetime, half_life_days: float) -> float:
    """1 for what is said now, a half after `half_life_days`, a quarter after twice that."""
    age = max(0.0, (now - at).total_seconds()) / SECONDS_PER_DAY
    return float(0.5 ** (age / half_life_days))
