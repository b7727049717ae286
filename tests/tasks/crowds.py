"""A tenant of so many messages that its terms are counted once for all."""

from tasks.indexing import COUNTED_FROM
from tests.api.speaking import Speaker
from tests.conftest import message


def say_many(speaker: Speaker) -> None:
    """Messages of five words each: one that all have, two that many have, two of its own."""
    for start in range(0, COUNTED_FROM, 500):
        speaker.say_all(
            [
                message(content=f"bees n{n % 7} m{n % 50} k{n} l{n}", metadata={"place": n % 5})
                for n in range(start, start + 500)
            ]
        )
