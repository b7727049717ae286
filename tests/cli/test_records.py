from pathlib import Path

import pytest

from cli.records import loopback_port, port_is_free, recorded, secret, write_private


def test_a_secret_stays_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "password"
    drawn = secret(path)
    assert len(drawn) >= 24
    assert secret(path) == drawn
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_private_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_private(path, "one\n")
    write_private(path, "two\n")
    assert recorded(path) == "two"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_recorded_in_a_missing_file(tmp_path: Path) -> None:
    assert recorded(tmp_path / "none") is None


def test_a_port_is_remembered(tmp_path: Path) -> None:
    port = loopback_port(tmp_path / "port")
    assert loopback_port(tmp_path / "port") == port


def test_another_port_is_taken_when_the_remembered_one_is_busy(
    tmp_path: Path, busy_port: int
) -> None:
    write_private(tmp_path / "port", str(busy_port))
    port = loopback_port(tmp_path / "port")
    assert port != busy_port
    assert recorded(tmp_path / "port") == str(port)


@pytest.mark.parametrize("content", ["", "many", "0", "99999999"])
def test_nonsense_for_a_port_is_replaced(tmp_path: Path, content: str) -> None:
    write_private(tmp_path / "port", content)
    assert 0 < loopback_port(tmp_path / "port") < 65536


def test_an_address_that_is_not_ours_is_not_called_busy() -> None:
    with pytest.raises(OSError, match="assign"):
        port_is_free("192.0.2.1", 8000)
