"""The sockets that the daemon listens on."""

import socket
import stat

import pytest
from http_under_test import echo, serving

from edgeexit.daemon.listening import all_loopback, bind_tcp, close_all, open_unix
from edgeexit.errors import ServeError


def test_a_port_that_is_taken_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServeError, match=f"port {port} of 127.0.0.1 cannot be listened on: Address already in use"):
            bind_tcp("127.0.0.1", port)


def test_localhost_has_one_port_on_all_its_addresses():
    sockets = bind_tcp("localhost", 0)
    try:
        assert len({bound.getsockname()[1] for bound in sockets}) == 1
    finally:
        close_all(sockets)


def test_a_host_that_nobody_knows_is_refused():
    with pytest.raises(ServeError, match=r"the host 'no such host' to listen on is not known"):
        bind_tcp("no such host", 0)


@pytest.mark.parametrize(("host", "loopback"), [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)])
def test_which_hosts_only_this_machine_reaches(host, loopback):
    assert all_loopback(host) is loopback


def test_a_unix_socket_has_its_permissions_and_goes_away(tmp_path):
    path = tmp_path / "s"
    with open_unix(path, 0o660):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert not path.exists()


def test_a_unix_socket_answers_requests(tmp_path):
    path = tmp_path / "s"
    listening, client = open_unix(path, 0o600), socket.socket(socket.AF_UNIX)
    with listening as listener, serving(echo, sockets=[listener]), client as connection:
        connection.settimeout(10.0)
        connection.connect(str(path))
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
        assert connection.recv(4096).endswith(b"hi")


def test_a_socket_that_was_left_over_is_replaced(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    with open_unix(path, 0o600) as listener:
        assert listener.getsockname() == str(path)


def test_a_socket_that_somebody_listens_on_stays(tmp_path):
    path = tmp_path / "s"
    with open_unix(path, 0o600):
        with pytest.raises(ServeError, match="another process listens on"), open_unix(path, 0o600):
            pass
        assert path.exists()


def test_a_file_in_the_socket_s_place_stays(tmp_path):
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(ServeError, match="is there already and is no socket"), open_unix(path, 0o600):
        pass
    assert path.read_text() == "precious"


def test_a_link_in_the_socket_s_place_is_not_followed(tmp_path):
    path = tmp_path / "s"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ServeError, match="is no socket"), open_unix(path, 0o600):
        pass


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ServeError, match="cannot be made: No such file"), open_unix(tmp_path / "no/s", 0o600):
        pass


def test_the_socket_of_a_daemon_that_took_over_is_left_to_it(tmp_path):
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as later:
        with open_unix(path, 0o600):
            path.unlink()
            later.bind(str(path))
        assert path.exists()
