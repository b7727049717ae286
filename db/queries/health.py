"""Whether the database answers."""

from sqlalchemy import text

ANSWERS = text("/* answers */ select 1")
