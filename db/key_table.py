"""The table of keys, which is no tenant's."""

from sqlalchemy import ARRAY, Column, DateTime, ForeignKey, LargeBinary, Table, Text, Uuid

from db.tables import metadata

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("label", Text, nullable=False),
    Column("tenants", ARRAY(Text(collation="C"))),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("rate_limit", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", DateTime(timezone=True)),
    Column("revoked_at", DateTime(timezone=True)),
    Column("replaced_by", Uuid, ForeignKey("api_keys.id")),
    Column("last_used_at", DateTime(timezone=True)),
)
