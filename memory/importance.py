"""How much a message matters, by itself and whatever is asked: the one definition of importance.

    importance = (w_role * role + w_content * content + w_recency * recency + w_use * use)
                 / (w_role + w_content + w_recency + w_use)

or the override, exactly, where a message has one. Every part lies in 0..1, and so does the whole.

    role     1 for a user, whose memory this is; 0.7 for the assistant, which mostly repeats and
             proposes; 0.3 for systems and tools, whose output can be had again.
    content  1 - (1 - markers) * (1 - 0.4 * rarity): what the text is marked by as worth keeping
             (`memory/markers.py`), or, as a weaker reason, that its words are rare. Neither grows
             with length: each marker counts once, and five rare words are all that can count.
    recency  0.5 ** (age / half-life), the age counted from when it was said. What is old and has
             no other reason to stay sinks, and never rises again by itself.
    use      u / (u + 5), for `u` searches that had it for their best answer: n-th answers count
             1 / n, and each use halves with time as recency does. The first uses count most, for
             what has been of use before is likely to be again (Anderson and Schooler, 1991).

Ingest computes it from the text alone; rescoring adds the rarity of the words, the uses and the
age. By the default weights an unused message loses 0.25 in the end: one that ends below the
retention threshold of 0.35 is archived sooner or later (`docs/how-it-works.md` says when).
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from memory.recency import recency
from memory.tenants import Effective

ROLE_IMPORTANCE = {"user": 1.0, "assistant": 0.7, "system": 0.3, "tool": 0.3}
# Rare words alone are a reason for months, not for ever: typing errors are rare too.
RARITY_SHARE = 0.4
# A word that one of so many messages has is as rare as can be; one of a hundred is half that.
RARE_IN = 10_000
RAREST_TERMS = 5
# Between that of small talk and that of a message full of rare words.
UNKNOWN_RARITY = 0.5
USES_OF_HALF = 5.0


class Grounds(NamedTuple):
    """What the importance of a message follows from.

    `markers` and `rarity` lie in 0..1, `rarity` is None until it is known. `uses` is as of now.
    """

    role: str
    created_at: datetime
    markers: float
    rarity: float | None = None
    uses: float = 0.0
    override: float | None = None


def importance(grounds: Grounds, settings: Effective, now: datetime) -> float:
    """The importance of a message at `now`, in 0..1, by the weights of its tenant."""
    if grounds.override is not None:
        return grounds.override
    parts = (
        (settings.importance_w_role, ROLE_IMPORTANCE[grounds.role]),
        (settings.importance_w_content, content(grounds.markers, grounds.rarity)),
        (
            settings.importance_w_recency,
            recency(grounds.created_at, now, settings.importance_half_life_days),
        ),
        (settings.importance_w_use, grounds.uses / (grounds.uses + USES_OF_HALF)),
    )
    total = sum(weight for weight, _ in parts)
    # A tenant's zeros may have met other zeros since they were checked.
    if total == 0:
        return 0.5
    return sum(weight * part for weight, part in parts) / total


def content(markers: float, rarity: float | None) -> float:
    """How informative a text is, in 0..1, from its markers and the rarity of its words."""
    known = UNKNOWN_RARITY if rarity is None else rarity
    return 1 - (1 - markers) * (1 - RARITY_SHARE * known)


def rarity(frequencies: Sequence[int], messages: int) -> float:
    """How rare the words of a message are, in 0..1.

    `frequencies` says for each of its rarest terms how many of the tenant's `messages` have it.
    The mean over five terms; what a text has fewer counts nothing, so two words are never much.
    """
    rarest = sorted(frequencies)[:RAREST_TERMS]
    return sum(_term_rarity(frequency, messages) for frequency in rarest) / RAREST_TERMS


def uses_now(uses: float, counted_at: datetime, now: datetime, settings: Effective) -> float:
    """What is left at `now` of the uses that were counted."""
    return uses * recency(counted_at, now, settings.importance_half_life_days)


def _term_rarity(frequency: int, messages: int) -> float:
    """idf by the logarithm, with 1 for a word of one message in `RARE_IN`."""
    share = max(messages, 1) / max(frequency, 1)
    return min(1.0, max(0.0, math.log(share) / math.log(RARE_IN)))
