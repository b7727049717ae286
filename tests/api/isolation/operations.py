"""How each operation of the OpenAPI document is called by one who aims at a tenant or at ids.

The calls of an operation use all its parameters and all properties of its body between them, and a
test holds that: who adds an operation, or a field, says here how it is attacked.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple
from uuid import UUID, uuid4

Access = Literal["public", "read", "write", "admin", "operator"]
Place = tuple[str, str]
Fields = dict[str, Any]

LONG_AGO, FAR_AHEAD = "1990-01-01T00:00:00+00:00", "2090-01-01T00:00:00+00:00"
ASKED = "Where does the otter sleep?"


class Aim(NamedTuple):
    """What a call is aimed at: a tenant, or None without a name, and ids that may be its own."""

    tenant: str | None
    message: str
    """Live, in `conversation`."""
    archived: str
    failed: str
    """A message that could not be embedded."""
    aged: str
    """One that retention would put away."""
    queued: str
    """A job, as the next two."""
    broken: str
    completed: str
    record: str
    """Of the audit log."""
    key: str
    conversation: str

    def at(self, tenant: str | None) -> "Aim":
        """The same ids, with this tenant named, or none."""
        return self._replace(tenant=tenant)

    def missing(self) -> "Aim":
        """The ids beside these, which do not exist, and a conversation like that."""
        beside = {name: str(UUID(int=UUID(getattr(self, name)).int + 1)) for name in IDS}
        return self._replace(conversation=self.conversation[::-1], **beside)


IDS = ("message", "archived", "failed", "aged", "queued", "broken", "completed", "record", "key")


@dataclass(frozen=True)
class Call:
    """A request to an operation; what is None is left out."""

    path: Fields = field(default_factory=dict)
    query: Fields = field(default_factory=dict)
    json: Fields | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Operation(NamedTuple):
    """What an operation takes: a key with this scope, and these calls."""

    access: Access
    calls: Callable[[Aim], list[Call]]


def said(aim: Aim) -> Fields:
    """A message to store."""
    return {
        "tenant_id": aim.tenant,
        "conversation_id": aim.conversation,
        "role": "user",
        "content": "The otter sleeps late.",
        "metadata": {"topic": "otters"},
        "importance_override": 0.5,
        "created_at": "2026-01-01T00:00:00+00:00",
    }


def twice(body: Fields) -> list[Call]:
    """What is stored, and the same again, which is not."""
    return [Call(json=body, headers={"Idempotency-Key": str(uuid4())})] * 2


def search(aim: Aim, **changes: Any) -> Fields:
    """A search with every field but `query`, `queries` and `metadata`."""
    return {
        "tenant_id": aim.tenant,
        "top_k": 50,
        "mode": "hybrid",
        "context": 3,
        "explain": True,
        "conversation_id": aim.conversation,
        "role": ["user", "assistant"],
        "importance_min": 0,
        "created_after": LONG_AGO,
        "created_before": FAR_AHEAD,
        "include_archived": True,
        "rerank": "none",
        "w_relevance": 1,
        "w_importance": 1,
        "w_recency": 1,
        "half_life_days": 10,
        **changes,
    }


def get_search(aim: Aim) -> list[Call]:
    """Searches by URL: with everything, and with as little as there can be."""
    plain = {"tenant_id": aim.tenant, "query": ASKED, "top_k": 100}
    full = search(aim) | {"query": ASKED, "metadata.topic": "otters"}
    return [
        Call(query=full),
        Call(query=plain),
        Call(query=plain | {"mode": "semantic", "context": 5, "include_archived": "true"}),
        Call(query=plain | {"mode": "lexical", "metadata.topic": "otters"}),
    ]


def post_search(aim: Aim) -> list[Call]:
    """Searches by body."""
    metadata = {"metadata": {"topic": "otters"}}
    return [
        Call(json=search(aim, query=ASKED, **metadata)),
        Call(json=search(aim, queries=[ASKED, "otter"], conversation_id=None)),
    ]


def one_message(kind: str) -> Callable[[Aim], list[Call]]:
    """A call for one message, by its id and perhaps its tenant."""
    return lambda aim: [
        Call(path={"message_id": getattr(aim, kind)}, query={"tenant_id": aim.tenant})
    ]


def one_job(kind: str) -> Callable[[Aim], list[Call]]:
    """A call for one job."""
    return lambda aim: [Call(path={"job_id": getattr(aim, kind)})]


def of_tenant(**body: Any) -> Callable[[Aim], list[Call]]:
    """A call for what a tenant has set."""
    return lambda aim: [Call(path={"tenant_id": aim.tenant}, json=body or None)]


def retention(aim: Aim) -> list[Call]:
    """A run, and for a tenant a list of what a run would do."""
    run: Fields = {"tenant_id": aim.tenant, "actions": ["archive", "delete"], "wait": True}
    listing = {"dry_run": True, "list": True, "limit": 10, "after": f"aged:{aim.message}"}
    return [Call(json=run)] + ([Call(json=run | listing)] if aim.tenant else [])


def an_import(aim: Aim) -> list[Call]:
    """A file that is nothing but its header."""
    header = {"format": "ai-memory-layer/messages", "version": 1}
    return [Call(path={"tenant_id": aim.tenant}, query={"overwrite": "true"}, json=header)]


def retry(aim: Aim) -> list[Call]:
    """Another try for all that failed, and for what is named."""
    every: Fields = {"tenant_id": aim.tenant}
    named = every | {"message_ids": [aim.failed, aim.message]}
    return ([Call(json=named)] if aim.tenant else []) + [Call(json=every)]


def nothing(_: Aim) -> list[Call]:
    """A call that takes nothing."""
    return [Call()]


NEW_KEY = {
    "scopes": ["read"],
    "label": "made",
    "rate_limit": "10/second",
    "expires_at": FAR_AHEAD,
}
SETTINGS = {
    "language": "german",
    **dict.fromkeys(("w_relevance", "w_importance", "w_recency"), 0.5),
    **dict.fromkeys(("importance_w_role", "importance_w_content"), 0.5),
    **dict.fromkeys(("importance_w_recency", "importance_w_use"), 0.5),
    "half_life_days": 5,
    "importance_half_life_days": 5,
}
POLICY = {
    "max_age_days": 300,
    "importance_threshold": 0.1,
    "delete_after_days": 300,
    "max_messages": 1_000_000,
    "exempt_roles": ["system"],
    "age_from": "created",
    "legal_hold": False,
}

MESSAGE, JOB = "/v1/messages/{message_id}", "/v1/jobs/{job_id}"
TENANT = "/v1/admin/tenants/{tenant_id}"
KEYS, MODELS = "/v1/admin/keys", "/v1/admin/embeddings"

OPERATIONS: dict[Place, Operation] = {
    ("post", "/v1/messages"): Operation("write", lambda aim: twice(said(aim))),
    ("post", "/v1/messages/batch"): Operation(
        "write", lambda aim: twice({"messages": [said(aim), said(aim)], "partial": True})
    ),
    ("get", "/v1/messages"): Operation(
        "read",
        lambda aim: [
            Call(
                query={
                    "tenant_id": aim.tenant,
                    "embedding_status": "completed",
                    "archived": "include",
                    "conversation_id": aim.conversation,
                    "limit": 200,
                    "after": aim.message,
                }
            ),
            Call(query={"tenant_id": aim.tenant, "archived": "include", "limit": 200}),
        ],
    ),
    ("get", MESSAGE): Operation("read", one_message("message")),
    ("post", MESSAGE + "/pin"): Operation("write", one_message("message")),
    ("post", MESSAGE + "/unpin"): Operation("write", one_message("message")),
    ("post", MESSAGE + "/restore"): Operation("write", one_message("archived")),
    ("get", "/v1/memory/search"): Operation("read", get_search),
    ("post", "/v1/memory/search"): Operation("read", post_search),
    ("get", TENANT + "/settings"): Operation("admin", of_tenant()),
    ("put", TENANT + "/settings"): Operation("admin", of_tenant(**SETTINGS)),
    ("delete", TENANT + "/settings"): Operation("admin", of_tenant()),
    ("get", TENANT + "/policy"): Operation("admin", of_tenant()),
    ("put", TENANT + "/policy"): Operation("admin", of_tenant(**POLICY)),
    ("delete", TENANT + "/policy"): Operation("admin", of_tenant()),
    ("post", TENANT + "/export"): Operation("admin", of_tenant(vectors=True)),
    ("get", TENANT + "/export"): Operation("admin", of_tenant()),
    ("post", TENANT + "/import"): Operation("admin", an_import),
    ("post", "/v1/admin/retention/run"): Operation("admin", retention),
    ("post", "/v1/admin/importance/run"): Operation(
        "admin", lambda aim: [Call(json={"tenant_id": aim.tenant})]
    ),
    ("post", MODELS + "/retry"): Operation("admin", retry),
    ("get", MODELS): Operation("operator", nothing),
    ("post", MODELS + "/migrate"): Operation(
        "operator",
        lambda _: [Call(json={"provider": "mock", "model": "", "dimensions": 32})],
    ),
    ("post", MODELS + "/drop"): Operation(
        "operator", lambda _: [Call(json={"name": "left", "dimensions": 8})]
    ),
    ("get", "/v1/admin/audit"): Operation(
        "admin",
        lambda aim: [
            Call(query={"tenant_id": aim.tenant, "action": "test", "before": aim.record}),
            Call(query={"tenant_id": aim.tenant, "limit": 1000}),
        ],
    ),
    ("post", KEYS): Operation(
        "operator", lambda aim: [Call(json=NEW_KEY | {"tenants": [aim.tenant or "*"]})]
    ),
    ("get", KEYS): Operation(
        "operator",
        lambda aim: [
            Call(
                query={
                    "tenant_id": aim.tenant,
                    "ended": "true",
                    "limit": 200,
                    "before": aim.key,
                }
            )
        ],
    ),
    ("delete", KEYS + "/{key_id}"): Operation(
        "operator", lambda aim: [Call(path={"key_id": aim.key})]
    ),
    ("post", KEYS + "/{key_id}/rotate"): Operation(
        "operator",
        lambda aim: [
            Call(path={"key_id": aim.key}, json={"grace_seconds": 60, "expires_at": FAR_AHEAD})
        ],
    ),
    ("get", "/v1/jobs"): Operation(
        "read",
        lambda aim: [
            Call(
                query={
                    "tenant_id": aim.tenant,
                    "kind": "rescore",
                    "state": "completed",
                    "before": aim.completed,
                }
            ),
            Call(query={"tenant_id": aim.tenant, "limit": 200}),
        ],
    ),
    ("get", JOB): Operation("read", one_job("completed")),
    ("post", JOB + "/cancel"): Operation("admin", one_job("queued")),
    ("post", JOB + "/retry"): Operation("admin", one_job("broken")),
    ("get", JOB + "/events"): Operation("read", one_job("completed")),
    ("get", "/v1/admin/live"): Operation("public", nothing),
    ("get", "/v1/admin/health"): Operation("public", nothing),
    ("get", "/v1/admin/readiness"): Operation("public", nothing),
}

NAMES = Aim("TENANT", *(f"{name.upper()}" for name in (*IDS, "conversation")))


def takes_tenant(operation: Operation) -> bool:
    """Whether the operation names a tenant."""
    return "'TENANT'" in repr(operation.calls(NAMES))


def takes_ids(operation: Operation) -> bool:
    """Whether the operation names an id that is somebody's."""
    calls = repr(operation.calls(NAMES))
    return any(getattr(NAMES, name) in calls for name in IDS)
