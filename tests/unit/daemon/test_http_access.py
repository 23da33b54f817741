"""Who may ask the daemon what."""

import asyncio
import base64

import pytest
from starlette.requests import Request

from edgeexit.daemon.access import (
    UNIX_KEY,
    Access,
    changes_state,
    is_loopback,
    read_token,
)
from edgeexit.daemon.http.guard import ACCESS_KEY, Guard, require_control, require_read
from edgeexit.errors import Denied, OptionError

TOKEN = b"0123456789abcdef"
OPEN = Access(None)
LOCAL = Access(TOKEN)
WIDE = Access(TOKEN, loopback=False)


def scope(method="GET", path="/v2", *, host="localhost:8000", unix=False, **headers):
    named = [(name.encode(), value.encode()) for name, value in headers.items()]
    hosts = [] if host is None else [(b"host", host.encode())]
    return {"type": "http", "method": method, "path": path, "headers": hosts + named, UNIX_KEY: unix}


def bearer(token=TOKEN):
    return {"authorization": f"Bearer {token.decode()}"}


def basic(token=TOKEN):
    return {"authorization": "Basic " + base64.b64encode(b"anybody:" + token).decode()}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_on_loopback_reading_needs_nothing(method):
    LOCAL.check(scope(method, "/edgeexit/v1/state"))


def test_on_loopback_inferring_needs_nothing():
    LOCAL.check(scope("POST", "/v2/models/a/infer"))
    LOCAL.check(scope("POST", "/v2/models/a/versions/1/infer"))


@pytest.mark.parametrize(
    "path",
    ["/v2/repository/models/a/load", "/v2/repository/models/a/unload", "/edgeexit/v1/settings", "/some/new/path"],
)
def test_a_change_over_tcp_needs_the_token(path):
    with pytest.raises(Denied, match="needs the token") as caught:
        LOCAL.check(scope("POST", path))
    assert caught.value.token_helps
    LOCAL.check(scope("POST", path, **bearer()))


def test_a_change_over_the_unix_socket_needs_nothing():
    OPEN.check(scope("POST", "/edgeexit/v1/settings", unix=True))


def test_without_a_token_nobody_changes_anything_over_tcp():
    with pytest.raises(Denied, match="the daemon has none") as caught:
        OPEN.check(scope("POST", "/edgeexit/v1/settings", **bearer(b"")))
    assert not caught.value.token_helps


@pytest.mark.parametrize("wrong", [b"", b"0123456789abcde", b"0123456789abcdeF", b"0123456789abcdef0", "é".encode()])
def test_a_wrong_token_is_refused(wrong):
    with pytest.raises(Denied):
        LOCAL.check(scope("POST", "/edgeexit/v1/settings", authorization="Bearer " + wrong.decode()))


def test_two_authorizations_are_none():
    asked = scope("POST", "/edgeexit/v1/settings", **bearer())
    asked["headers"].append((b"authorization", b"Bearer other"))
    with pytest.raises(Denied):
        LOCAL.check(asked)


@pytest.mark.parametrize("path", ["/", "/v2", "/metrics", "/dashboard/page.js", "/edgeexit/v1/state", "/openapi.json"])
def test_elsewhere_even_reading_needs_the_token(path):
    with pytest.raises(Denied):
        WIDE.check(scope("GET", path, host="board.example"))
    WIDE.check(scope("GET", path, host="board.example", **bearer()))


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready"])
def test_elsewhere_health_needs_nothing(path):
    WIDE.check(scope("GET", path, host="board.example"))


def test_elsewhere_inferring_needs_the_token():
    with pytest.raises(Denied):
        WIDE.check(scope("POST", "/v2/models/a/infer", host="board.example"))


def test_elsewhere_the_unix_socket_reads_without_a_token():
    WIDE.check(scope("GET", "/v2", host="x", unix=True))


def test_a_browser_s_password_reads_but_changes_nothing():
    WIDE.check(scope("GET", "/", **basic()))
    with pytest.raises(Denied):
        WIDE.check(scope("POST", "/edgeexit/v1/settings", **basic()))


@pytest.mark.parametrize("damaged", ["Basic !!!", "Basic " + base64.b64encode(TOKEN).decode(), "Digest x", "Bearer"])
def test_a_damaged_authorization_is_refused(damaged):
    with pytest.raises(Denied):
        WIDE.check(scope("GET", "/", authorization=damaged))


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "127.1.2.3", "[::1]:8000"])
def test_loopback_answers_to_its_own_names(host):
    LOCAL.check(scope(host=host))


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8000", "192.168.0.7", "", "a b", None])
def test_loopback_answers_to_no_other_name(host):
    with pytest.raises(Denied) as caught:
        LOCAL.check(scope(host=host))
    assert not caught.value.token_helps


def test_loopback_answers_to_a_name_that_is_allowed():
    Access(TOKEN, hosts=frozenset({"board.lan"})).check(scope(host="Board.lan:8000"))


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:8001", "http://localhost"])
def test_a_page_of_another_site_is_refused_even_with_the_token(origin):
    with pytest.raises(Denied, match="pages of"):
        LOCAL.check(scope("POST", "/edgeexit/v1/settings", origin=origin, **bearer()))


@pytest.mark.parametrize("origin", ["http://localhost:8000", "https://localhost:8000"])
def test_the_own_page_is_let_through(origin):
    LOCAL.check(scope("POST", "/edgeexit/v1/settings", origin=origin, **bearer()))


def test_a_foreign_page_is_refused_on_the_unix_socket_too():
    with pytest.raises(Denied):
        OPEN.check(scope("GET", "/", unix=True, origin="http://evil.example"))


def test_what_is_not_known_to_be_harmless_changes_state():
    assert changes_state("DELETE", "/v2")
    assert changes_state("POST", "/v2/models/a/infer/../x")
    assert not changes_state("POST", "/v2/repository/index")


@pytest.mark.parametrize(("name", "is_it"), [("localhost", True), ("::1", True), ("0.0.0.0", False), ("a.b", False)])
def test_what_is_loopback(name, is_it):
    assert is_loopback(name) is is_it


def test_a_route_outside_of_the_rules_lets_nobody_in():
    with pytest.raises(Denied, match="no access rules"):
        require_control(Request(scope()))


def test_routes_ask_the_rules_in_force():
    require_read(Request(scope() | {ACCESS_KEY: OPEN}))
    with pytest.raises(Denied):
        require_control(Request(scope() | {ACCESS_KEY: LOCAL}))


def test_a_token_is_read_without_its_line_end(tmp_path):
    file = tmp_path / "token"
    file.write_bytes(TOKEN + b"\n")
    file.chmod(0o600)
    assert read_token(file) == TOKEN


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620, 0o660])
def test_a_token_that_others_may_read_is_refused(tmp_path, mode):
    file = tmp_path / "token"
    file.write_bytes(TOKEN)
    file.chmod(mode)
    with pytest.raises(OptionError, match="chmod 600"):
        read_token(file)


@pytest.mark.parametrize("text", [b"", b"short", b"two words 0123456789", b"\xff" * 32, b"a" * 5000])
def test_what_is_no_token_is_refused(tmp_path, text):
    file = tmp_path / "token"
    file.write_bytes(text)
    file.chmod(0o600)
    with pytest.raises(OptionError, match="holds no token"):
        read_token(file)


def test_a_token_file_that_is_missing_or_a_folder_is_refused(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(OptionError, match="the token file"):
            read_token(path)


def test_a_token_of_somebody_else_is_refused(tmp_path):
    file = tmp_path / "token"
    file.write_bytes(TOKEN)
    file.chmod(0o600)
    owner = file.stat().st_uid
    if owner == 0:
        assert read_token(file, uid=12345) == TOKEN
    else:
        with pytest.raises(OptionError, match="belongs to user"):
            read_token(file, uid=owner + 1)


def answered(asked, access=LOCAL, content_type=b"application/json"):
    """What the guard sends for a request."""
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
        await send({"type": "http.response.body", "body": b"x"})

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(app, access)(asked, None, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


def test_pages_come_with_a_strict_policy_and_data_without_guessing():
    _, page, _ = answered(scope(), content_type=b"text/html; charset=utf-8")
    assert page[b"content-security-policy"].startswith(b"default-src 'none'; script-src 'self'")
    _, data, _ = answered(scope())
    assert data[b"x-content-type-options"] == b"nosniff"
    assert b"content-security-policy" not in data


def test_no_answer_allows_another_site_to_read_it():
    _, headers, _ = answered(scope())
    assert not [name for name in headers if name.startswith(b"access-control-")]


def test_a_refusal_is_json_and_says_what_helps():
    status, headers, body = answered(scope("POST", "/edgeexit/v1/settings"))
    assert (status, headers[b"www-authenticate"]) == (401, b"Bearer")
    assert body.startswith(b'{"error":"')
    assert answered(scope(host="evil.example"))[0] == 403


def test_a_browser_is_asked_for_the_token_where_a_page_needs_it():
    status, headers, _ = answered(scope(accept="text/html"), WIDE)
    assert status == 401
    assert headers[b"www-authenticate"].startswith(b"Basic")
