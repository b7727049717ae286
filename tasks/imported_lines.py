"""What a line of a file must hold to be stored, and storing what the tenant has set."""

from datetime import datetime

import msgspec
from sqlalchemy import Connection

from db.queries.policies import LOCK_RETENTION, PUT_POLICY, policy_from_row, policy_of
from db.queries.tenants import (
    PUT_SETTINGS,
    REINDEX_AFTER_SECONDS,
    REINDEX_TENANT,
    settings_from_row,
    settings_of,
)
from memory.checks import EARLIEST, LATEST, check_message
from memory.errors import FileContentError, InvalidFieldError
from memory.messages import NewMessage
from memory.retention import RetentionPolicy, effective_policy
from memory.settings import Settings
from memory.tenants import TenantSettings, check_importance_weights, check_weights, effective
from tasks.file_format import ArchivedMessage, Header, Line, PolicyLine, SettingsLine
from tasks.imported_vectors import check_vectors
from tasks.importing import Imported

TIMES = ("created_at", "ingested_at", "updated_at", "archived_at", "counted_at")


def check_line(line: Line, header: Header, settings: Settings, *, any_length: bool = False) -> None:
    """Raise `FileContentError` for a line that the service would not take.

    With `any_length` a content may be longer than the settings allow: it was once stored.
    """
    if isinstance(line, ArchivedMessage):
        most = max(len(line.content), settings.content_max_chars) if any_length else 0
        check_archived(line, most or settings.content_max_chars)
        check_vectors(line, header)
    elif isinstance(line, SettingsLine):
        own = effective(settings, line.settings)
        try:
            check_weights(own)
            check_importance_weights(own)
        except InvalidFieldError as error:
            raise FileContentError(f"the tenant's settings: {error}") from None


def check_archived(message: ArchivedMessage, content_max_chars: int) -> None:
    """Raise `FileContentError` for a message that the service would not take."""
    try:
        for name in TIMES:
            check_time(name, getattr(message, name))
        if not message.content:
            raise InvalidFieldError("content", "is empty")
        new = NewMessage(
            tenant_id=message.tenant_id,
            conversation_id=message.conversation_id,
            role=message.role,
            content=message.content,
            metadata=message.metadata,
            created_at=message.created_at,
        )
        check_message(new, content_max_chars)
    except InvalidFieldError as error:
        raise FileContentError(f"message {message.id}: {error}") from None


def check_time(name: str, time: datetime | None) -> None:
    """Raise `InvalidFieldError` for a time that cannot be stored."""
    if time is None:
        return
    if time.tzinfo is None:
        raise InvalidFieldError(name, "has no time zone")
    if not EARLIEST < time < LATEST:
        raise InvalidFieldError(name, "must lie between the years 1000 and 9000")


def import_rules(
    settings: Settings,
    connection: Connection,
    tenant_id: str,
    line: SettingsLine | PolicyLine,
    *,
    overwrite: bool,
) -> Imported:
    """Store what the tenant had set, unless it has set something else here.

    A legal hold that is on here is not lifted by a file, whoever wants to overwrite.
    """
    outcome = Imported()
    if isinstance(line, SettingsLine):
        row = connection.execute(settings_of([tenant_id])).one_or_none()
        own = settings_from_row(row) if row else None
        if own is not None and own != line.settings and not overwrite:
            outcome.conflict("settings")
        elif own != line.settings:
            put_settings(settings, connection, tenant_id, line.settings)
        return outcome
    connection.execute(LOCK_RETENTION, {"tenant_id": tenant_id})
    found = connection.execute(policy_of(tenant_id)).one_or_none()
    policy = policy_from_row(found) if found else None
    held = effective_policy(settings, policy or RetentionPolicy()).legal_hold
    lifted = held and not effective_policy(settings, line.policy).legal_hold
    if lifted or (policy is not None and policy != line.policy and not overwrite):
        outcome.conflict("policy")
    elif policy != line.policy:
        values = msgspec.structs.asdict(line.policy)
        connection.execute(PUT_POLICY, {"tenant_id": tenant_id, **values})
    return outcome


def put_settings(
    settings: Settings, connection: Connection, tenant_id: str, own: TenantSettings
) -> None:
    """Store a tenant's settings, as the API does: another language has all indexed anew."""
    named = {"tenant_id": tenant_id}
    row = connection.execute(settings_of([tenant_id])).one_or_none()
    before = effective(settings, settings_from_row(row) if row else TenantSettings())
    connection.execute(PUT_SETTINGS, {**named, **msgspec.structs.asdict(own)})
    if effective(settings, own).language != before.language:
        connection.execute(REINDEX_TENANT, {**named, "after": REINDEX_AFTER_SECONDS})
