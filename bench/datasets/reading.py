"""Reading a data set of any format that is known here."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import msgspec

from bench.conversations import Conversation, Dataset, DatasetError
from bench.datasets.locomo import Sample, read_sample
from bench.datasets.longmemeval import Instance, read_instance
from bench.datasets.realtalk import read_chat
from bench.datasets.sessions import session_keys

Format = Literal["locomo", "realtalk", "longmemeval"]
FORMATS: tuple[Format, ...] = get_args(Format)
Entry = TypeVar("Entry")
# Undecoded, so that a limit spares the work and the memory for what lies beyond it.
Entries = list[msgspec.Raw]


def read_dataset(path: Path, stated: Format | None = None, limit: int | None = None) -> Dataset:
    """The first `limit` conversations of `path`, a file or a folder of REALTALK chats.

    The format is told by the file's shape unless it is `stated`. Conversations without a question
    that can be scored are skipped. Raises `DatasetError` with one line that names what is wrong.
    """
    files = _files(path)
    form = stated or ("realtalk" if path.is_dir() else detect(files[0]))
    notes: list[str] = []
    kept = list(islice(_with_questions(_conversations(form, files), notes), limit))
    if not kept:
        raise DatasetError(f"{path.name}: no question names a turn that holds its answer")
    return Dataset(path.resolve().stem, form, kept, _summed(notes))


def detect(path: Path) -> Format:
    """The format of a file, by its outermost keys."""
    content = _decode(path, path.read_bytes(), Entries | dict[str, msgspec.Raw])
    if isinstance(content, dict):
        if session_keys(content):
            return "realtalk"
    elif content:
        keys = _decode(path, content[0], dict[str, msgspec.Raw] | Any)
        if isinstance(keys, dict) and "haystack_sessions" in keys:
            return "longmemeval"
        if isinstance(keys, dict) and "conversation" in keys:
            return "locomo"
    raise DatasetError(
        f"{path.name}: is none of {', '.join(FORMATS)}: expected a list of entries with"
        " `conversation` or `haystack_sessions`, or an object with `session_1`"
    )


def _files(path: Path) -> list[Path]:
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise DatasetError(f"{path.name}: the folder has no .json file")
    return files


def _conversations(form: Format, files: list[Path]) -> Iterator[Conversation]:
    match form:
        case "locomo":
            return _listed(files, Sample, read_sample)
        case "longmemeval":
            return _listed(files, Instance, read_instance)
        case "realtalk":
            return _chats(files)


def _listed(
    files: list[Path], entry: type[Entry], read: Callable[[Entry], Conversation]
) -> Iterator[Conversation]:
    for path in files:
        for index, raw in enumerate(_decode(path, path.read_bytes(), Entries)):
            try:
                yield read(msgspec.json.decode(raw, type=entry))
            except (msgspec.MsgspecError, DatasetError) as error:
                raise DatasetError(f"{path.name}: entry {index}: {error}") from None


def _chats(files: list[Path]) -> Iterator[Conversation]:
    for path in files:
        try:
            yield read_chat(path.stem, _decode(path, path.read_bytes(), dict[str, Any]))
        except DatasetError as error:
            named = str(error).removeprefix(f"{path.name}: ")
            raise DatasetError(f"{path.name}: {named}") from None


def _with_questions(
    conversations: Iterable[Conversation], notes: list[str]
) -> Iterator[Conversation]:
    for each in conversations:
        if each.questions:
            yield each
        else:
            notes.append(each.name)


def _summed(skipped: list[str]) -> list[str]:
    if not skipped:
        return []
    shown = ", ".join(skipped[:5]) + (", ..." if len(skipped) > 5 else "")
    return [f"skipped {len(skipped)} without a question that can be scored: {shown}"]


def _decode(path: Path, data: bytes | msgspec.Raw, form: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DatasetError(f"{path.name}: {error}") from None
