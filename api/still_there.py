"""Whether the messages of kept answers are still there, asked for many answers at once."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from api.gathering import Gathering
from db.queries.search import MESSAGES_THERE
from db.reading import Read

MOST_ANSWERS = 64


class Shown(NamedTuple):
    """The messages that an answer shows."""

    tenant_id: str
    ids: tuple[UUID, ...]
    include_archived: bool


def still_there(read: Read) -> Gathering[Shown, bool]:
    """Tells of what an answer shows whether all of it is there at the time of the asking.

    Who asks has been let in to the tenant.
    """

    async def are_there(lot: Sequence[Shown]) -> list[bool]:
        asked = list(dict.fromkeys(lot))
        each = [(number, shown, id_) for number, shown in enumerate(asked) for id_ in shown.ids]
        parameters = {
            "numbers": [number for number, _, _ in each],
            "tenant_ids": [shown.tenant_id for _, shown, _ in each],
            "ids": [id_ for _, _, id_ in each],
            "archived": [shown.include_archived for _, shown, _ in each],
        }
        rows = await read({shown.tenant_id for shown in asked}, MESSAGES_THERE, parameters)
        found = {asked[number]: count for number, count in rows}
        return [found.get(shown, 0) == len(shown.ids) for shown in lot]

    return Gathering(are_there, MOST_ANSWERS)
