import os
from pathlib import Path

from cli.excerpt import excerpt, readable
from cli.rotation import RotatingFile, follow


def test_a_log_stays_within_its_files_and_loses_no_recent_line(tmp_path: Path) -> None:
    log = RotatingFile(tmp_path / "a.log", limit=100, kept=2)
    for number in range(50):
        log.write(b"line %03d\n" % number)
    log.close()
    names = ["a.log.2", "a.log.1", "a.log"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    lines = "".join((tmp_path / name).read_text() for name in names).splitlines()
    assert lines == [f"line {number:03d}" for number in range(50 - len(lines), 50)]
    assert all((tmp_path / name).stat().st_size <= 100 for name in names)
    assert all((tmp_path / name).stat().st_mode & 0o777 == 0o600 for name in names)


def test_a_pipe_is_copied_to_its_end(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    thread = follow(os.fdopen(reading, "rb"), tmp_path / "b.log")
    os.write(writing, b"one\ntwo without an end")
    os.close(writing)
    thread.join(5)
    assert (tmp_path / "b.log").read_text() == "one\ntwo without an end"


def test_an_excerpt_is_the_last_that_was_said() -> None:
    said = [f"{number}\n".encode() for number in range(9)]
    assert excerpt(said, 2) == "7\n8"
    assert excerpt([], 5) == ""


def test_json_lines_are_made_readable() -> None:
    assert readable('{"event": "refused", "reason": "no key", "level": "error"}') == (
        "refused: no key"
    )
    trace = '{"event": "Traceback ...\\n    | memory.errors.SettingsError: no key\\n    +---\\n"}'
    assert readable(trace) == "SettingsError: no key"
    assert readable("[1, 2]") == "[1, 2]"
    assert readable("plain") == "plain"
