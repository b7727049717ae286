"""What values settings take, beyond their Python type."""

from typing import Annotated

from msgspec import Meta

ROLE = "(user|assistant|system|tool)"
TENANT = "[A-Za-z0-9_.-]{1,64}"

Weight = Annotated[float, Meta(ge=0, le=1000)]
Days = Annotated[float, Meta(gt=0, le=100_000)]
WholeDays = Annotated[int, Meta(ge=1, le=100_000)]
MessageLimit = Annotated[int, Meta(ge=1, le=10**12)]
Positive = Annotated[int, Meta(ge=1)]
Roles = Annotated[str, Meta(pattern=rf"^({ROLE}(\s*,\s*{ROLE})*)?$")]
Tenants = Annotated[str, Meta(pattern=rf"^(\*|{TENANT}(\s*,\s*{TENANT})*)$")]
Seconds = Annotated[float, Meta(gt=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Port = Annotated[int, Meta(ge=0, le=65535)]


def split_list(value: str) -> list[str]:
    """The entries of a comma-separated setting, blanks dropped."""
    return [entry.strip() for entry in value.split(",") if entry.strip()]
