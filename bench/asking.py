"""Asking the questions of a data set, in each of several configurations of search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.progress import Progress

from bench.concurrency import together
from bench.conversations import Conversation, Question
from bench.figures import DEPTH, Answered
from bench.importing import Imported
from bench.rest import RefusedError, Service

SEARCH = "/v1/memory/search"
DEFAULT = "fusion"
REFUSALS = (400, 422)


@dataclass(frozen=True)
class Configuration:
    """A way to search: what it is called here, and the parameters it adds."""

    name: str
    parameters: dict[str, str] = field(default_factory=dict)


CONFIGURATIONS = (
    Configuration(DEFAULT),
    Configuration("fusion context=2", {"context": "2"}),
    Configuration("dense", {"mode": "semantic"}),
    Configuration("lexical", {"mode": "lexical"}),
    Configuration("rerank late", {"rerank": "late_interaction"}),
)


@dataclass
class Asked:
    """The answers of one configuration by conversation; `skipped` is why there are none.

    `degraded` counts the answers that the service says it could not give as asked, `strange`
    those with a message that is not of this data set.
    """

    configuration: Configuration
    answers: dict[str, list[Answered]] = field(default_factory=dict)
    skipped: str | None = None
    degraded: int = 0
    strange: int = 0


async def unknown_parameters(service: Service, configuration: Configuration) -> list[str]:
    """The parameters that the service's OpenAPI document does not have; none without a document.

    A service ignores what it does not know, and the figures would be another configuration's.
    """
    try:
        document = await service.get("/docs/openapi.json")
        listed = document["paths"][SEARCH]["get"]["parameters"]
    except (RefusedError, KeyError, TypeError):
        return []
    known = {each["name"] for each in listed}
    return [name for name in configuration.parameters if name not in known]


async def ask(
    service: Service,
    configuration: Configuration,
    conversations: Mapping[str, Conversation],
    held: Mapping[str, Imported],
    progress: Progress,
) -> Asked:
    """Every question asked in `configuration`; skipped when the service refuses it."""
    asked = Asked(configuration)
    unknown = await unknown_parameters(service, configuration)
    if unknown:
        asked.skipped = f"the service has no parameter {', '.join(unknown)}"
        return asked
    total = sum(len(each.questions) for each in conversations.values())
    bar = progress.add_task(f"asking {configuration.name}", total=total)

    async def one(tenant: str, question: Question) -> Answered:
        parameters = search_parameters(tenant, question.text, configuration)
        found = await service.get(SEARCH, parameters)
        progress.advance(bar)
        items, turn_of = found["items"], held[tenant].turn_of
        asked.degraded += bool(found.get("degraded"))
        asked.strange += any(item["message_id"] not in turn_of for item in items)
        return Answered(question, turns_of(items, turn_of))

    try:
        for tenant, conversation in conversations.items():
            asked.answers[conversation.name] = await together(
                [one(tenant, question) for question in conversation.questions]
            )
    except RefusedError as error:
        if error.status not in REFUSALS:
            raise
        progress.remove_task(bar)
        asked.answers, asked.skipped = {}, str(error)
    return asked


def search_parameters(
    tenant: str, query: str, configuration: Configuration
) -> dict[str, str | int]:
    """The parameters of one search."""
    return {"tenant_id": tenant, "query": query, "top_k": DEPTH, **configuration.parameters}


def turns_of(
    items: Sequence[Mapping[str, Any]], turn_of: Mapping[str, str]
) -> list[frozenset[str]]:
    """The turns of each item: of its message, and of the neighbours returned beside it.

    A message that is not of the data set has no turn and keeps its rank.
    """
    found = []
    for item in items:
        messages = [item, *(item.get("before") or []), *(item.get("after") or [])]
        ids = [message["message_id"] for message in messages]
        found.append(frozenset(turn_of[each] for each in ids if each in turn_of))
    return found
