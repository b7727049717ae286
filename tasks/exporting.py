"""Writing a tenant as a file, page by page: for `aiml export`, and as a job for the API.

An export is no snapshot, which would hold up the housekeeping of the database while it lasts. It
has what was stored when it began; what is changed or deleted meanwhile is there as it was when
its page was read. Each message is whole.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
from sqlalchemy import Connection, Row

from db.queries.exporting import EXPORT_PAGE, EXTENT
from db.queries.models import ALL_MODELS, models_from_rows
from db.queries.policies import policy_from_row, policy_of
from db.queries.tenants import settings_from_row, settings_of
from memory.embedding.recipes import StoredModel
from memory.version import VERSION as SERVICE
from tasks.file_format import (
    FORMAT,
    VERSION,
    ArchivedMessage,
    FileModel,
    FileVectors,
    Header,
    PolicyLine,
    SettingsLine,
    Written,
)

PAGE_MESSAGES = 500
PAGE_BYTES = 4 << 20
# Of a vector as PostgreSQL sends it: its length, and what is not used.
VECTOR_HEAD_BYTES = 4
# All that a row has and a line does not, for a line has the vectors in its own way.
NOT_FIELDS = ("model_ids", "vectors")


class Extent(NamedTuple):
    """What there is to export: the newest message, None without any, and how many there are."""

    upto: UUID | None
    messages: int


def extent_of(connection: Connection, tenant_id: str) -> Extent:
    """What there is of a tenant now."""
    return Extent(*connection.execute(EXTENT, {"tenant_id": tenant_id}).one())


def first_lines(
    connection: Connection, tenant_id: str, upto: UUID | None, *, vectors: bool, written: Written
) -> tuple[Header, bytes]:
    """The header of a file, and the lines with it and what the tenant has set."""
    header = Header(
        format=FORMAT,
        version=VERSION,
        holds="tenant",
        tenant_id=tenant_id,
        exported_at=datetime.now(UTC),
        service=SERVICE,
        upto=upto,
        vectors=vectors,
        models=[file_model(model) for model in wanted(connection)] if vectors else [],
    )
    things: list[Header | SettingsLine | PolicyLine] = [header]
    if row := connection.execute(settings_of([tenant_id])).one_or_none():
        things.append(SettingsLine(settings_from_row(row)))
    if row := connection.execute(policy_of(tenant_id)).one_or_none():
        things.append(PolicyLine(policy_from_row(row)))
    return header, written.lines(*things)


def next_lines(connection: Connection, tenant_id: str, header: Header, written: Written) -> bytes:
    """The lines of the next messages; none when all are written."""
    if header.upto is None or written.after >= header.upto:
        return b""
    places = model_places(connection, header)
    rows = connection.execute(
        EXPORT_PAGE,
        {
            "tenant_id": tenant_id,
            "after": written.after,
            "upto": header.upto,
            "most": PAGE_MESSAGES,
            "budget": PAGE_BYTES,
            "models": list(places),
        },
    )
    return written.lines(*(line_of(tenant_id, row, places) for row in rows))


def line_of(tenant_id: str, row: Row[Any], places: dict[int, int]) -> ArchivedMessage:
    """The message of a row of `EXPORT_PAGE`; `places` are the models of the file, by their ids."""
    values = dict(row._mapping)
    for name in NOT_FIELDS:
        values.pop(name)
    parts: dict[int, list[bytes]] = {}
    for model_id, sent in zip(row.model_ids or (), row.vectors or (), strict=True):
        vector = np.frombuffer(sent, dtype=">f2", offset=VECTOR_HEAD_BYTES).astype("<f2")
        parts.setdefault(places[model_id], []).append(vector.tobytes())
    vectors = [FileVectors(model=place, data=b"".join(parts[place])) for place in sorted(parts)]
    return ArchivedMessage(tenant_id=tenant_id, vectors=vectors, **values)


def wanted(connection: Connection) -> list[StoredModel]:
    """The models whose vectors are worth taking along: the active one, and one being filled."""
    models = models_from_rows(connection.execute(ALL_MODELS).all())
    return sorted(
        (model for model in models if model.active or model.filling),
        key=lambda model: (not model.active, model.id),
    )


def file_model(model: StoredModel) -> FileModel:
    """What a file says of a model."""
    provider = model.recipe.provider if model.recipe else None
    return FileModel(name=model.name, dimensions=model.dimensions, provider=provider)


def model_places(connection: Connection, header: Header) -> dict[int, int]:
    """Where in the header each model of the store stands, by its id; one that left is not there."""
    if not header.models:
        return {}
    models = models_from_rows(connection.execute(ALL_MODELS).all())
    return places_of(header.models, models)


def places_of(theirs: Sequence[FileModel], ours: Sequence[StoredModel]) -> dict[int, int]:
    """The place in `theirs` of each of `ours` that is the same model, by its id."""
    return {
        model.id: place
        for model in ours
        for place, other in enumerate(theirs)
        if is_same(other, model)
    }


# For the model that both have, they give the same vectors.
ALIKE = {"sentence_transformer": "onnx"}


def is_same(theirs: FileModel, ours: StoredModel) -> bool:
    """Whether vectors of one can be compared with those of the other."""
    if (theirs.name, theirs.dimensions) != (ours.name, ours.dimensions):
        return False
    if theirs.provider is None or ours.recipe is None:
        return True
    own = ours.recipe.provider
    return ALIKE.get(theirs.provider, theirs.provider) == ALIKE.get(own, own)
