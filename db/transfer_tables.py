"""The tables of exports and imports on their way, as the queries see them."""

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
)

from db.tables import metadata

transfers = Table(
    "transfers",
    metadata,
    Column("tenant_id", Text(collation="C"), nullable=False),
    Column("id", Uuid, nullable=False),
    Column("kind", Text, nullable=False),
    Column("bytes", BigInteger),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("finished_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("tenant_id", "id"),
)

transfer_parts = Table(
    "transfer_parts",
    metadata,
    Column("tenant_id", Text(collation="C"), nullable=False),
    Column("transfer_id", Uuid, nullable=False),
    Column("number", Integer, nullable=False),
    Column("begins", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant_id", "transfer_id", "number"),
    ForeignKeyConstraint(
        ["tenant_id", "transfer_id"], ["transfers.tenant_id", "transfers.id"], ondelete="CASCADE"
    ),
)
