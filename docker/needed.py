"""What an image installs, from pyproject.toml, a requirement a line: `needed.py [EXTRA...]`."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
lines = [*project["dependencies"]]
for extra in sys.argv[1:]:
    lines += project["optional-dependencies"][extra]
print(*lines, sep="\n")
