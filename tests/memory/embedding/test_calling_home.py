"""No library reports to its maker what is done here."""

import os
import re
import subprocess
import sys

from tests.test_architecture import named, sources

# What onnxruntime reads when it is loaded; the second keeps it silent where tests run.
READ_BY_IT = ("ORT_DISABLE_TELEMETRY", "CI")
SPY = """
import os, sys

class Spy:
    def find_spec(self, name, *_):
        if name == "onnxruntime":
            print(os.environ.get("ORT_DISABLE_TELEMETRY"))

sys.meta_path.insert(0, Spy())
import memory.embedding.onnx
"""


def test_onnxruntime_is_told_to_be_silent_before_it_is_loaded() -> None:
    environment = {name: value for name, value in os.environ.items() if name not in READ_BY_IT}
    command = [sys.executable, "-c", SPY]
    said = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert said.stdout == "1\n"


def test_nobody_else_loads_it() -> None:
    loads = re.compile(r"^\s*(?:import|from) onnxruntime", re.MULTILINE)
    assert {named(path) for path in sources() if loads.search(path.read_text())} == {
        "memory/embedding/onnx.py"
    }
