"""The rules of the house that can be checked by reading the code."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TypeGuard

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("api", "bench", "cli", "db", "grafana", "memory", "tasks")
MOST_LINES = 250
MOST_FUNCTION_LINES = 40
# A file or function that is one thought and longer than the measure, each with its reason.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS = {"api/memory.py:search": "its parameters alone are half of it"}
VAGUE = {"utils", "util", "helpers", "helper", "common", "manager", "service", "services", "misc"}


def sources() -> list[Path]:
    return [
        path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if "__pycache__" not in path.parts
    ] + [ROOT / "beat_schedule.py"]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


SOURCES = pytest.mark.parametrize("path", sources(), ids=named)


def test_imports_run_one_way() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run(
        [linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stdout


def test_beat_schedule_imports_no_task() -> None:
    modules = set(imported_modules(ROOT / "beat_schedule.py"))
    assert not {module.split(".")[0] for module in modules} & {"tasks", "api", "cli", "db"}


@SOURCES
def test_only_db_writes_sql(path: Path) -> None:
    if path.is_relative_to(ROOT / "db") or path.is_relative_to(ROOT / "bench"):
        return
    builders = {"text", "select", "insert", "update", "delete"}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sqlalchemy"):
            assert not builders & {alias.name for alias in node.names}, f"line {node.lineno}"


@SOURCES
def test_only_settings_and_the_command_line_read_the_environment(path: Path) -> None:
    if named(path) == "memory/settings.py" or path.is_relative_to(ROOT / "cli"):
        return
    tree = ast.parse(path.read_text())
    # A library may want to be told in this way.
    written = {node.value for node in ast.walk(tree) if is_written(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            named_so = (node.value.id, node.attr)
            assert named_so not in {("os", "environ"), ("os", "getenv")} or node in written


def test_settings_are_loaded_in_the_composition_roots_only() -> None:
    roots = {"memory/settings.py", "api/app.py", "tasks/celery.py"}
    loaders = {named(path) for path in sources() if "load_settings" in path.read_text()}
    assert {path for path in loaders if not path.startswith("cli/")} <= roots


@SOURCES
def test_a_file_is_short(path: Path) -> None:
    if named(path) not in LONG_FILES:
        assert len(path.read_text().splitlines()) <= MOST_LINES


@SOURCES
def test_a_function_is_short(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            allowed = f"{named(path)}:{node.name}" in LONG_FUNCTIONS
            assert allowed or lines <= MOST_FUNCTION_LINES, f"{node.name}: {lines} lines"


@SOURCES
def test_a_module_has_a_telling_name_and_a_docstring(path: Path) -> None:
    assert path.stem not in VAGUE
    tree = ast.parse(path.read_text())
    assert not tree.body or ast.get_docstring(tree)


def is_written(node: ast.AST) -> TypeGuard[ast.Subscript]:
    return isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)


def imported_modules(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
