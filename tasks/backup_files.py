"""The folder of backups: each a dump and its manifest, whole and on the disk, or not there."""

import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from memory.backups import FORMAT, NAME, VERSION, Manifest
from memory.errors import BackupError
from tasks.archive_files import sync_folder

UNFINISHED = ".unfinished"
CHUNK_BYTES = 1 << 20
# A manifest is there a moment before its dump.
STRAY_SECONDS = 60


class NewDump:
    """A dump while it is written: for the user of this process alone, under another name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes = 0
        self._digest = hashlib.sha256()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        # Freed by this process's death: so the next knows that nobody writes to it any more.
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @property
    def sha256(self) -> str:
        """Of what was written so far."""
        return self._digest.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Add to it."""
        self._file.write(chunk)
        self._digest.update(chunk)
        self.bytes += len(chunk)

    def finish(self, manifest: Manifest) -> None:
        """Have it on the disk, under the name that `manifest` gives it, with that beside it."""
        self._file.flush()
        os.fsync(self._file.fileno())
        named = self.path.with_name(manifest.file)
        if named.exists():
            raise BackupError(f"{named} is there already")
        write_manifest(named.parent, manifest)
        self.path.rename(named)
        sync_folder(named.parent)

    def close(self) -> None:
        """Let go of it; what was not finished is removed."""
        # What its buffer still holds may not fit on the disk.
        with suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)


@contextmanager
def new_dump(folder: Path) -> Iterator[NewDump]:
    """A dump to write to in `folder`, which is made; what killed processes left there goes.

    Raises `BackupError` when the folder cannot be written, or its disk is full.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_unfinished(folder)
        dump = NewDump(folder / f"memory-{secrets.token_hex(8)}{UNFINISHED}")
    except OSError as error:
        raise BackupError(f"{folder} cannot be written: {error.strerror}") from None
    try:
        yield dump
    except OSError as error:
        raise BackupError(f"{folder} cannot be written: {error.strerror}") from None
    finally:
        dump.close()


def remove_unfinished(folder: Path) -> None:
    """Remove what nobody writes to any more."""
    for path in folder.glob(f"memory-*{UNFINISHED}"):
        with path.open("rb") as file, suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    for path in folder.glob("memory-*.json"):
        with suppress(BackupError, OSError):
            dump = path.with_name(read_manifest_file(path).file)
            if not dump.exists() and time.time() - path.stat().st_mtime > STRAY_SECONDS:
                path.unlink()


def manifest_path(dump: Path) -> Path:
    """Where the manifest of a dump stands."""
    return dump.with_suffix(".json")


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write a manifest into `folder`, in the place of the one that is there."""
    path = manifest_path(folder / manifest.file)
    unfinished = path.with_name(f"memory-{secrets.token_hex(8)}{UNFINISHED}")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.write(msgspec.json.format(msgspec.json.encode(manifest)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            unfinished.rename(path)
        sync_folder(folder)
    finally:
        unfinished.unlink(missing_ok=True)


def read_manifest(dump: Path) -> Manifest:
    """The manifest of a dump. Raises `BackupError` when there is none, or none that this knows."""
    if not dump.is_file():
        raise BackupError(f"{dump} is not there")
    path = manifest_path(dump)
    if dump.suffix != ".dump" or not path.is_file():
        raise BackupError(
            f"{dump} has no manifest: a backup is two files, the dump (.dump) and {path.name}"
            " beside it"
        )
    manifest = read_manifest_file(path)
    if manifest.file != dump.name:
        raise BackupError(f"{path} is the manifest of {manifest.file}, not of {dump.name}")
    return manifest


def read_manifest_file(path: Path) -> Manifest:
    """What a manifest says; raises `BackupError` for what is none, or one of a newer version."""
    try:
        read = msgspec.json.decode(path.read_bytes(), type=dict)
        if read.get("format") != FORMAT:
            raise BackupError(f"{path} is not the manifest of a backup")
        if read.get("version") != VERSION:
            raise BackupError(f"{path} is of version {read.get('version')}, this knows {VERSION}")
        return msgspec.convert(read, Manifest)
    except OSError as error:
        raise BackupError(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BackupError(f"{path} is not the manifest of a backup: {error}") from None


def backups_in(folder: Path) -> list[Manifest]:
    """The finished backups of a folder; what else lies there is none of ours."""
    found = []
    for path in folder.glob("memory-*.dump"):
        if NAME.fullmatch(path.name):
            with suppress(BackupError):
                found.append(read_manifest(path))
    return found


def remove_backup(folder: Path, manifest: Manifest) -> None:
    """Remove a dump and then its manifest; raises `BackupError`."""
    dump = folder / manifest.file
    try:
        dump.unlink(missing_ok=True)
        manifest_path(dump).unlink(missing_ok=True)
    except OSError as error:
        raise BackupError(f"{dump} cannot be removed: {error.strerror}") from None


def chunks_of(file: Path, reached: Callable[[int], None]) -> Iterator[bytes]:
    """A file piece by piece; `reached` is told how many bytes have been read."""
    done = 0
    try:
        with file.open("rb") as opened:
            while chunk := opened.read(CHUNK_BYTES):
                yield chunk
                done += len(chunk)
                reached(done)
    except OSError as error:
        raise BackupError(f"{file} cannot be read: {error.strerror}") from None


def check_dump(file: Path, manifest: Manifest, reached: Callable[[int], None]) -> None:
    """Raise `BackupError` when a dump is not, to the byte, what its manifest says."""
    size = file.stat().st_size
    if size != manifest.bytes:
        raise BackupError(f"{file} has {size:,} bytes, its manifest says {manifest.bytes:,}")
    digest = hashlib.sha256()
    for chunk in chunks_of(file, reached):
        digest.update(chunk)
    if digest.hexdigest() != manifest.sha256:
        raise BackupError(f"{file} is damaged: its SHA-256 is not the one in its manifest")
