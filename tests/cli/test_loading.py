import gc
import json
import subprocess
import sys

import pytest

from cli.loading import loaded


def test_it_gives_the_last_module_and_leaves_the_collector_at_work() -> None:
    assert loaded("gc", "json") is json
    assert gc.isenabled()
    gc.unfreeze()


def test_the_collector_is_at_work_too_when_a_module_is_not_there() -> None:
    with pytest.raises(ModuleNotFoundError):
        loaded("there_is_no_such_module")
    assert gc.isenabled()
    gc.unfreeze()


@pytest.mark.parametrize(
    ("module", "unneeded"),
    [
        ("cli.up", {"sqlalchemy", "redis", "celery", "litestar", "numpy", "alembic"}),
        ("cli.parts", {"sqlalchemy", "celery", "litestar", "numpy", "alembic"}),
        ("api.server", {"alembic", "google.genai", "openai", "torch"}),
        ("tasks.celery", {"alembic", "google.genai", "openai", "torch", "litestar"}),
    ],
)
def test_a_part_loads_nothing_that_it_does_not_need(module: str, unneeded: set[str]) -> None:
    """What is loaded here is waited for at each start."""
    script = f"import sys, {module}; print('\\n'.join(sys.modules))"
    given = {"MEMORY_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**given, "MEMORY_REDIS_URL": "redis://127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert not unneeded & set(done.stdout.split())
