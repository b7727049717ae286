"""Statements with their tenant filter taken out, or with another tenant's name put in."""

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal, get_args
from uuid import UUID

from tests.api.isolation.operations import IDS
from tests.api.isolation.planted import ALSO_MINE, MINE, VICTIM, Planted
from tests.api.isolation.statements import Sent

Wall = Literal["taken out", "another's ids", "another's name"]
WALLS: tuple[Wall, ...] = get_args(Wall)
ROLE = "memory_api"

_COLUMN = r"(?:\w+\.)?tenant_id"
_VALUE = r"%\(\w+\)s(?:::\w+)?(?:\ COLLATE\ \"C\")?"
# `%(tenants)s` is a parameter; what stands in a list of columns or values is no filter.
FILTER = re.compile(
    rf"""
    \(\w+\.tenant_id,\s*\w+\.id\)\s*>\s*\({_VALUE},\s*{_VALUE}\)  # the page of a list
    | {_COLUMN} \s* (?:=|<=) \s* any\(cast\({_VALUE}\ as\ text\[\]\)\)
    | {_COLUMN} \s* (?:=|<=) \s* (?:{_VALUE}|{_COLUMN})
    | {_COLUMN} \s+ IN \s* \((?:%\(\w+\)s|[^()])*\)
    """,
    re.VERBOSE | re.IGNORECASE,
)


def without_filter(text: str) -> str:
    """A statement that no longer says whose rows it is about."""
    return FILTER.sub("true", text)


def with_others(parameters: Any, others: dict[Any, Any]) -> Any:
    """Parameters with `others` in the place of what is one's own."""
    if isinstance(parameters, dict):
        return {name: with_others(value, others) for name, value in parameters.items()}
    if isinstance(parameters, list):
        return [with_others(value, others) for value in parameters]
    if isinstance(parameters, str) and parameters.startswith("{"):
        # An array in PostgreSQL's own writing.
        for own, other in others.items():
            parameters = parameters.replace(f'"{own}"', f'"{other}"')
        return parameters
    return others.get(parameters, parameters)


def others_ids(planted: Planted) -> dict[Any, Any]:
    """The victim's ids, by one's own, and the name of its conversation."""
    pairs = [(getattr(planted.mine, name), getattr(planted.victim, name)) for name in IDS]
    conversation = {planted.mine.conversation: planted.victim.conversation}
    return conversation | dict(pairs) | {UUID(own): UUID(other) for own, other in pairs}


class Breach:
    """Has one statement of the API go out with a wall down, and counts how often.

    Its filter is taken out, and perhaps it asks for the victim's ids; or it names the victim.
    """

    def __init__(self, name: str, wall: Wall, planted: Planted) -> None:
        self.name = name
        self.wall = wall
        self.times = 0
        self._ids = others_ids(planted)
        self._names = dict.fromkeys((MINE, ALSO_MINE), VICTIM)

    def __call__(self, sent: Sent, parameters: Any) -> tuple[str, Any]:
        """What is sent in place of `sent`."""
        if sent.role != ROLE or sent.name != self.name:
            return sent.text, parameters
        changed = self.changed(sent.text, parameters)
        self.times += changed != (sent.text, parameters)
        return changed

    def changed(self, text: str, parameters: Any) -> tuple[str, Any]:
        """A statement with the wall down; as it was where there is nothing to take down."""
        if self.wall == "another's name":
            return text, with_others(parameters, self._names | self._ids)
        opened = without_filter(text)
        if self.wall == "taken out" or opened == text:
            return opened, parameters
        asked = with_others(parameters, self._ids)
        return (opened, asked) if asked != parameters else (text, parameters)


class Recording:
    """Which calls had which statements sent in the API's role."""

    def __init__(self) -> None:
        self.seen: dict[str, list[tuple[str, Any]]] = defaultdict(list)
        self.by_workers: set[str] = set()
        self.beside: set[str] = set()
        """What was sent for no request, but for what requests had left behind."""
        self.calls: dict[str, list[Any]] = defaultdict(list)
        self.call: Any = None

    def __call__(self, sent: Sent, parameters: Any) -> tuple[str, Any]:
        """`sent` as it is."""
        if sent.role == ROLE:
            self.seen[sent.name].append((sent.text, parameters))
            if not sent.request_id:
                self.beside.add(sent.name)
            if self.call not in self.calls[sent.name]:
                self.calls[sent.name].append(self.call)
        elif sent.role and sent.request_id:
            self.by_workers.add(sent.name)
        return sent.text, parameters

    def about(self, tables: Iterable[str]) -> list[str]:
        """The names of the statements that say one of `tables`."""
        word = re.compile(rf"\b({'|'.join(tables)})\b")
        return sorted(
            name for name, sent in self.seen.items() if any(word.search(text) for text, _ in sent)
        )

    def can_fall(self, breach: Breach) -> bool:
        """Whether `breach` has anything to change in a statement that was seen."""
        return any(breach.changed(*sent) != sent for sent in self.seen[breach.name])
