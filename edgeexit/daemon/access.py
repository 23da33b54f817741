"""Who may ask what: the token, the Unix socket, and the headers by which a browser tells where a request comes from.

On loopback and on the Unix socket everybody may read and infer. What changes the daemon's state needs the token, or the
Unix socket, whose permissions have let the client in. Bound to another address, everything but /v2/health needs the
token. A request of which nothing is known to be harmless counts as one that changes state.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from edgeexit.errors import Denied, OptionError

Scope = Mapping[str, Any]

UNIX_KEY: Final = "edgeexit.unix"
"""Where a request's scope holds True if it came over the Unix socket."""
MIN_TOKEN_CHARACTERS: Final = 16
MAX_TOKEN_BYTES: Final = 4096
_HEALTH: Final = "/v2/health/"
_READING_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_HARMLESS_POSTS: Final = re.compile(
    r"/v2/repository/index|/v2/models/[^/]+(/versions/[^/]+)?/infer"
    r"|/v2/(systemsharedmemory|cudasharedmemory)/.*|/v2/(models/[^/]+/)?trace/setting|/v2/logging"
)
"""Those that read or infer; the last line's are of extensions that do not exist here, which clients are to be told."""
_TOKEN: Final = re.compile(rb"[\x21-\x7e]+")
_HOST: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Access:
    """The rules in force.

    Attributes:
        token: What allows everything; None if there is none.
        loopback: True if TCP is bound to loopback, or not at all: then reading needs no token.
        hosts: Names beside those of loopback by which clients may call the daemon there, in lower case.
    """

    token: bytes | None
    loopback: bool = True
    hosts: frozenset[str] = frozenset()

    def check(self, scope: Scope) -> None:
        """Let a request pass, or not; changes of state are told by method and path.

        Raises:
            Denied: If it may not.
        """
        on_unix = scope.get(UNIX_KEY) is True
        if self.loopback and not on_unix:
            self._check_host(scope)
        _check_origin(scope)
        if changes_state(scope["method"], scope["path"]):
            self.check_control(scope)
        elif not (self.loopback or on_unix or scope["path"].startswith(_HEALTH)):
            self.check_token(scope, what="everything but /v2/health")

    def check_control(self, scope: Scope) -> None:
        """Let a request change the daemon's state, or not.

        Raises:
            Denied: If it comes over TCP without the token.
        """
        if scope.get(UNIX_KEY) is not True:
            self.check_token(scope, what=f"{scope['method']} {scope['path']}", basic=False)

    def check_token(self, scope: Scope, *, what: str, basic: bool = True) -> None:
        """Check the token, in constant time.

        Args:
            scope: The request's.
            what: What asks for it.
            basic: True to take the token also as the password of HTTP's "Basic", which is how a browser can open the
                dashboard. A browser adds that to every request by itself, so it never allows a change.

        Raises:
            Denied: If it is missing or wrong.
        """
        if self.token is None:
            raise Denied(
                f"{what} needs a token, and the daemon has none: use its Unix socket, or start it with --token-file",
                token_helps=False,
            )
        given = _given_token(scope, basic=basic)
        if given is None:
            raise Denied(f"{what} needs the token: send 'Authorization: Bearer TOKEN'", token_helps=True)
        if not hmac.compare_digest(given, self.token):
            raise Denied("the token is wrong", token_helps=True)

    def _check_host(self, scope: Scope) -> None:
        """Refuse a name that is not this machine's: a page elsewhere may have pointed its own name here (rebinding)."""
        hosts = _values(scope, b"host")
        match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if match is None:
            raise Denied("the request does not say with one Host header whom it is for", token_helps=False)
        name = match["name"].strip("[]").lower()
        if not (is_loopback(name) or name in self.hosts):
            raise Denied(f"this server is not called {name!r}; allow the name with 'hosts'", token_helps=False)


def changes_state(method: str, path: str) -> bool:
    """Return whether a request is none of those that only read or infer."""
    return method not in _READING_METHODS and not (method == "POST" and _HARMLESS_POSTS.fullmatch(path))


@lru_cache(maxsize=64)  # it is asked for every request, and making an address takes longer than all other checks
def is_loopback(name: str) -> bool:
    """Return whether a name or address can only be this machine's own, without asking anybody."""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def read_token(path: Path, *, uid: int | None = None) -> bytes:
    """Read the token from a file that nobody else may read.

    Args:
        path: The file; white space around the token is left out.
        uid: Who may own it beside root; by default this process's user. Its group may read it only if that is root's,
            as it is for systemd's credentials.

    Raises:
        OptionError: If it cannot be read, others may read it, or what it holds is no token.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(file.fileno())
            _check_mode(path, found, os.getuid() if uid is None else uid)
            token = file.read(MAX_TOKEN_BYTES + 1).strip()
    except OSError as error:
        raise OptionError(f"the token file {path} cannot be read: {error.strerror}") from error
    if not (MIN_TOKEN_CHARACTERS <= len(token) <= MAX_TOKEN_BYTES and _TOKEN.fullmatch(token)):
        raise OptionError(
            f"the token file {path} holds no token of {MIN_TOKEN_CHARACTERS} or more printable characters without "
            "spaces; make one: (umask 077; openssl rand -hex 32 > FILE)"
        )
    return token


def _check_mode(path: Path, found: os.stat_result, uid: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OptionError(f"the token file {path} is no plain file")
    if found.st_uid not in (0, uid):
        raise OptionError(
            f"the token file {path} belongs to user {found.st_uid}: run this as that user, or give it to "
            f"user {uid} or root if that is who shall read it"
        )
    shared = found.st_mode & (0o037 if found.st_gid == 0 else 0o077)
    if shared:
        mode = stat.S_IMODE(found.st_mode)
        raise OptionError(f"others may read or write the token file {path} (mode {mode:04o}): chmod 600 {path}")


def _check_origin(scope: Scope) -> None:
    """Refuse what a page of another site sends; browsers name the site wherever a request could do something."""
    origins = _values(scope, b"origin")
    if not origins:
        return
    own = [f"{scheme}://{host}" for host in _values(scope, b"host") for scheme in ("http", "https")]
    if len(origins) > 1 or origins[0].lower() not in [each.lower() for each in own]:
        raise Denied(f"requests from pages of {origins[0][:100]!r} are not allowed", token_helps=False)


def _given_token(scope: Scope, *, basic: bool) -> bytes | None:
    values = _values(scope, b"authorization")
    if len(values) != 1:
        return None
    scheme, _, rest = values[0].partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip().encode("latin-1")
    if scheme.lower() == "basic" and basic:
        return _password(rest.strip())
    return None


def _password(credentials: str) -> bytes | None:
    try:
        _, colon, password = base64.b64decode(credentials, validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return None
    return password if colon else None


def _values(scope: Scope, name: bytes) -> list[str]:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1") for key, value in headers if key == name]
