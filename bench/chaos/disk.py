"""A small file system for the database, which a fault can fill without harm to the machine."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

from cli.accounts import account_for

CLONE_NEWNS = 0x00020000
BYTES = 1536 << 20


def mount_small_disk(folder: Path) -> bool:
    """Mount one at `folder`, which is to be made, for this process and its children alone.

    False where that cannot be: it takes Linux, and root.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    folder.mkdir(mode=0o755)
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        return False
    account = account_for(folder)
    owner = f",uid={account.uid},gid={account.gid}" if account else ""
    for words in (
        ["--make-rprivate", "/"],
        ["-t", "tmpfs", "-o", f"size={BYTES},mode=0755{owner}", "tmpfs", str(folder)],
    ):
        if subprocess.run(["mount", *words], capture_output=True, check=False).returncode != 0:
            return False
    return True


def unmount(folder: Path) -> None:
    """Take it away again, if there is one."""
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], capture_output=True, check=False)
