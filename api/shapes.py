"""Shapes of what comes in and goes out that no type of ours says to the framework."""

from typing import Any

import msgspec

from memory.checks import FLOAT_LIMIT, INTEGER_LIMIT, METADATA_MAX_BYTES, METADATA_MAX_DEPTH
from memory.messages import WITHOUT_NUL, TenantId
from memory.search import SearchRequest

Node = dict[str, Any]

# A `progress` or an `end`, each with the job as JSON.
EVENT: Node = {
    "type": "object",
    "properties": {
        "event": {"enum": ["progress", "end"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
# Exactly one of two, where null is none.
ONE_SEARCH_OR_MANY: Node = {
    "oneOf": [
        {"required": [one], "properties": {one: {"type": kind}, other: {"type": "null"}}}
        for one, other, kind in (("query", "queries", "string"), ("queries", "query", "array"))
    ]
}
IDEMPOTENCY_KEY: Node = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "A request with a key that was used before is answered as that one was.",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
}
METADATA_VALUE: Node = {"type": "string", "maxLength": 64, **WITHOUT_NUL}
METADATA_FILTER: Node = {
    "name": "metadata",
    "in": "query",
    "description": "`metadata.KEY=VALUE`: only messages whose metadata has that value there.",
    "style": "form",
    "explode": True,
    "schema": {
        "type": "object",
        "patternProperties": {r"^metadata\.[A-Za-z0-9_-]+$": METADATA_VALUE},
        "additionalProperties": False,
    },
}


def metadata_schemas() -> Node:
    """What metadata may be: JSON that PostgreSQL stores and gives back as it was."""
    text = {"type": "string", **WITHOUT_NUL}
    whole = {"type": "integer", "minimum": -INTEGER_LIMIT, "maximum": INTEGER_LIMIT - 1}
    fraction = {"type": "number", "minimum": -FLOAT_LIMIT, "maximum": FLOAT_LIMIT}
    values: list[Node] = [text, whole, fraction, {"type": "boolean"}, {"type": "null"}]
    value = {"$ref": "#/components/schemas/MetadataValue"}
    nested = {"type": "object", "propertyNames": text, "additionalProperties": value}
    array = {"type": "array", "items": value}
    description = f"Nested at most {METADATA_MAX_DEPTH} deep, {METADATA_MAX_BYTES} bytes as JSON."
    return {
        "MetadataValue": {"anyOf": [*values, array, nested]},
        "Metadata": {**nested, "description": description},
    }


def with_least(parameter: Node) -> Node:
    """A parameter of the search with the bounds that the framework leaves out: a 0, and a NUL."""
    field = msgspec.json.schema(SearchRequest)["$defs"]["SearchRequest"]["properties"]
    kinds = [field[parameter["name"]], *field[parameter["name"]].get("anyOf", [])]
    least = {
        bound: kind[bound]
        for kind in kinds
        for bound in ("minimum", "exclusiveMinimum", "pattern")
        if bound in kind
    }
    return {**parameter, "schema": parameter["schema"] | least}


def path_schema(name: str) -> Node:
    """What a part of the path must be: a tenant's name, or an id."""
    if name == "tenant_id":
        return msgspec.json.schema(TenantId)
    return {"type": "string", "format": "uuid"}
