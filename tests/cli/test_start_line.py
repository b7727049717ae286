import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from cli.start_line import START_LINE, StartLine, wait_at_line

WAITS = "from cli.start_line import wait_at_line; wait_at_line(); print('begun')"


@contextmanager
def waiting(line: StartLine) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS],
        env={**os.environ, START_LINE: str(line.waiting)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pass_fds=[line.waiting],
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


def test_each_part_begins_when_it_is_told_to_whether_it_is_there_yet_or_not() -> None:
    line = StartLine()
    with waiting(line) as early:
        assert early.poll() is None
        line.begin(2)
        with waiting(line) as late:
            for process in (early, late):
                assert process.communicate(timeout=30)[0] == "begun\n"
                assert process.returncode == 0
    line.close()


def test_a_part_ends_when_there_will_be_no_start() -> None:
    line = StartLine()
    with waiting(line) as process:
        line.close()
        said = process.communicate(timeout=30)
        assert said == ("", "Whoever started this process has ended.\n")
        assert process.returncode == 1


def test_a_part_that_was_given_no_line_begins_at_once() -> None:
    wait_at_line({})
