"""What a process is given to set it: the environment over a `.env` file, and secrets in files."""

import re
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import get_args, get_type_hints

import dotenv
import msgspec

from memory.errors import SettingsError

# `NAME_FILE` names a file that holds the value of `NAME`, for variables that are secrets.
FILE = "_FILE"
MOST_BYTES = 65_536


def gather(
    environ: Mapping[str, str],
    dotenv_file: Path,
    prefix: str,
    standard: Collection[str],
    secrets: Collection[str],
) -> dict[str, str]:
    """What `environ` sets, and of `dotenv_file` what `environ` does not; without blanks around it.

    Of variables with `prefix` and of those in `standard`. A secret is set by its variable or by
    that of its file, and either hides both of `dotenv_file`.
    """
    over = _ours(environ, prefix, standard)
    under = _ours(dotenv.dotenv_values(dotenv_file), prefix, standard)
    for name in secrets:
        if over.get(name) or over.get(name + FILE):
            under.pop(name, None)
            under.pop(name + FILE, None)
    return {**under, **over}


def with_secrets(given: Mapping[str, str], secrets: Collection[str]) -> dict[str, str]:
    """`given` with the content of the files that are named in it for `secrets`.

    Raises `SettingsError`, naming variable and path and never the content, when a file cannot be
    read or holds no single line, or when the secret is given in both ways.
    """
    read = dict(given)
    for name in secrets:
        if not (path := read.pop(name + FILE, "")):
            continue
        if given.get(name):
            raise SettingsError(f"{name + FILE}={path!r}: {name} is set too; take one of them away")
        read[name] = _content(name + FILE, path)
    return read


def wrong_field(error: msgspec.ValidationError, kind: type) -> tuple[str, str]:
    """The field of `kind` that `error` is about, and what is wrong with its value."""
    message, _, path = str(error).partition(" - at `$.")
    field = re.sub(r"\W.*", "", path)
    if message.startswith("Invalid enum value"):
        message = f"expected one of {', '.join(get_args(get_type_hints(kind)[field]))}"
    return field, message


def _ours(
    values: Mapping[str, str | None], prefix: str, standard: Collection[str]
) -> dict[str, str]:
    return {
        name.upper(): value.strip()
        for name, value in values.items()
        if (name.startswith(prefix) or name in standard) and value is not None
    }


def _content(variable: str, path: str) -> str:
    try:
        # A pipe or a device might never end.
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise SettingsError(f"{variable}={path!r}: this is no regular file")
        with Path(path).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no path of a file"
        raise SettingsError(f"{variable}={path!r}: cannot be read: {reason}") from None
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}={path!r}: the file holds no text in UTF-8") from None
    if not text or len(content) > MOST_BYTES or not text.isprintable():
        raise SettingsError(f"{variable}={path!r}: expected one line in this file, the secret")
    return text
