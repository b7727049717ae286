"""Hits with what stands around them in their conversation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec

from memory.search import Hit, Neighbour


@dataclass
class Passage:
    """A run of messages of one conversation, and the best hit in it."""

    hit: Hit
    messages: list[Neighbour]
    merged: dict[UUID, float]

    def overlaps(self, others: Sequence[Neighbour]) -> bool:
        """Whether one of `others` stands in this passage too."""
        known = {message.message_id for message in self.messages}
        return any(message.message_id in known for message in others)

    def take_in(self, hit: Hit, messages: Sequence[Neighbour]) -> None:
        """Merge a lesser hit and its neighbours."""
        known = {message.message_id for message in self.messages}
        self.messages += [message for message in messages if message.message_id not in known]
        self.messages.sort(key=lambda message: (message.created_at, message.message_id))
        self.merged[hit.message_id] = hit.score

    def as_hit(self) -> Hit:
        """The best hit with all that stands before and after it in the passage."""
        shown = [
            msgspec.structs.replace(message, score=self.merged[message.message_id])
            if message.message_id in self.merged
            else message
            for message in self.messages
        ]
        place = [message.message_id for message in shown].index(self.hit.message_id)
        return msgspec.structs.replace(self.hit, before=shown[:place], after=shown[place + 1 :])


def merge(
    hits: Sequence[Hit], windows: Mapping[UUID, Sequence[Neighbour]], top_k: int
) -> list[Hit]:
    """The first `top_k` passages of `hits`, best first.

    `windows` has for each hit the messages around it, itself among them, in their order. A hit
    whose window overlaps a better one's is merged into that passage, where it keeps its score; so
    no message is answered twice, and the next hit takes the place that became free.
    """
    passages: list[Passage] = []
    for hit in hits:
        window = windows.get(hit.message_id)
        if window is None:  # Deleted since it was found.
            continue
        at_home = [
            passage
            for passage in passages
            if passage.hit.conversation_id == hit.conversation_id and passage.overlaps(window)
        ]
        if at_home:
            at_home[0].take_in(hit, window)
            for bridged in at_home[1:]:
                at_home[0].take_in(bridged.hit, bridged.messages)
                at_home[0].merged.update(bridged.merged)
                passages.remove(bridged)
        elif len(passages) == top_k:
            break
        else:
            passages.append(Passage(hit, list(window), {}))
    return [passage.as_hit() for passage in passages]
