import os
from pathlib import Path

import pytest

from cli.errors import StartError
from cli.lock import FolderLock, holder


def test_a_second_instance_is_told_the_process(place: Path) -> None:
    with FolderLock(place / "data"):
        assert holder(place / "data") == str(os.getpid())
        with pytest.raises(StartError, match=f"in use by process {os.getpid()}"):
            FolderLock(place / "data").__enter__()
    assert holder(place / "data") is None
    with FolderLock(place / "data"):
        pass


def test_a_folder_that_cannot_be_made_is_named(place: Path) -> None:
    (place / "file").touch()
    with pytest.raises(StartError, match=r"file/data cannot be written.*MEMORY_DATA_DIR"):
        FolderLock(place / "file" / "data").__enter__()


def test_a_folder_that_cannot_be_written_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("cli.lock.tempfile.TemporaryFile", read_only)
    with pytest.raises(StartError, match=r"cannot be written: Read-only file system"):
        FolderLock(place).__enter__()


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_closed_folder_is_named(place: Path) -> None:
    place.chmod(0o500)
    with pytest.raises(StartError, match=r"cannot be written: Permission denied"):
        FolderLock(place).__enter__()
    place.chmod(0o700)


def test_a_folder_nobody_ever_used_is_held_by_nobody(place: Path) -> None:
    assert holder(place / "none") is None
