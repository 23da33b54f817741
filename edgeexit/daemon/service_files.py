"""What `edgeexit install-service` writes and runs, and how all of it is undone.

Everything is decided before anything is changed: a `Plan` lists files and commands, and can be printed.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Final, NamedTuple

from edgeexit.beside import write_beside
from edgeexit.errors import ServeError

SERVER: Final = "edgeexit-server"
CLOCKD: Final = "edgeexit-clockd"
USER: Final = "edgeexit"
TOKEN: Final = "etc/edgeexit/token"
CONFIG: Final = "etc/edgeexit/serve.toml"
_UNITS: Final = "etc/systemd/system"
_PLACEHOLDER: Final = "@EDGEEXIT@"
_DROP_INS: Final = {
    "dev/vcio": ((SERVER, "raspberry-pi.conf"),),
    "dev/nvidiactl": ((SERVER, "nvidia-server.conf"), (CLOCKD, "nvidia-clockd.conf")),
}
"""Which device, if the machine has it, wants which addition to which service."""
_HIDDEN: Final = ("/home", "/root", "/run/user")
"""What ProtectHome= keeps from a service."""

Run = Callable[[Sequence[str]], None]


class InstalledFile(NamedTuple):
    """A file to write."""

    path: str
    """Below the root folder, without a slash before."""
    text: str
    mode: int = 0o644
    kept: bool = False
    """True if one that is there already stays, and one that was changed outlives the service."""
    secret: bool = False
    """True if it is made up for this machine, belongs to the service's user, and is not to be printed."""


class Plan(NamedTuple):
    """What is to be done."""

    files: tuple[InstalledFile, ...]
    before: tuple[tuple[str, ...], ...]
    """Commands that the files need to be there for, but not the token."""
    after: tuple[tuple[str, ...], ...]
    """Commands at the end."""


def install_plan(program: Sequence[str], root: Path = Path("/")) -> Plan:
    """Return what installs the services.

    Args:
        program: Command line of this edgeexit.
        root: The machine's folder of everything.
    """
    units = [
        InstalledFile(f"{_UNITS}/{name}.service", _filled(f"{name}.service", program)) for name in (SERVER, CLOCKD)
    ]
    drop_ins = [
        InstalledFile(f"{_UNITS}/{unit}.service.d/50-{file}", _shipped(file))
        for device, wanted in _DROP_INS.items()
        if (root / device).exists()
        for unit, file in wanted
    ]
    others = [
        InstalledFile("etc/sysusers.d/edgeexit-server.conf", _shipped("sysusers.conf")),
        InstalledFile("etc/tmpfiles.d/edgeexit-server.conf", _shipped("tmpfiles.conf")),
        InstalledFile(CONFIG, _shipped("serve.toml"), kept=True),
        InstalledFile(TOKEN, "", mode=0o400, kept=True, secret=True),
    ]
    before = (
        ("systemd-sysusers", "edgeexit-server.conf"),
        ("systemd-tmpfiles", "--create", "edgeexit-server.conf"),
    )
    after = (("systemctl", "daemon-reload"), ("systemctl", "enable", "--now", f"{CLOCKD}.service", f"{SERVER}.service"))
    return Plan((*units, *drop_ins, *others), before, after)


def install(plan: Plan, run: Run, root: Path = Path("/")) -> Iterator[str]:
    """Install the services; yields a line for everything that was done.

    Args:
        plan: From `install_plan`.
        run: Runs a command.
        root: The machine's folder of everything.

    Raises:
        OSError: If a file cannot be written.
        ServeError: If a command fails.
    """
    for file in plan.files:
        if not file.secret:
            yield _write(file, root)
    for command in plan.before:
        run(command)
        yield f"ran {' '.join(command)}"
    for file in plan.files:
        if file.secret:
            yield _write_token(file, run, root)
    for command in plan.after:
        run(command)
        yield f"ran {' '.join(command)}"


def remove(plan: Plan, run: Run, root: Path = Path("/")) -> Iterator[str]:
    """Undo all that `install` has done; yields a line for everything.

    Args:
        plan: From `install_plan`.
        run: Runs a command; one that fails because there is nothing to undo may say so by `ServeError`.
        root: The machine's folder of everything.

    Raises:
        OSError: If a file cannot be deleted.
    """
    yield from _try(run, "systemctl", "disable", "--now", f"{SERVER}.service", f"{CLOCKD}.service")
    for file in plan.files:
        yield from _delete(file, root)
    for unit in (SERVER, CLOCKD):
        for drop_in in sorted((root / f"{_UNITS}/{unit}.service.d").glob("50-*.conf")):
            drop_in.unlink()
            yield f"deleted {drop_in}"
    for folder in (f"{_UNITS}/{SERVER}.service.d", f"{_UNITS}/{CLOCKD}.service.d", "etc/edgeexit"):
        with suppress(OSError):  # it holds what is not ours, or is not there
            (root / folder).rmdir()
    cache = root / "var/cache/edgeexit"
    if cache.is_dir():
        shutil.rmtree(cache)
        yield f"deleted {cache}"
    for folder in ("var/lib/edgeexit/bundles", "var/lib/edgeexit"):
        yield from _remove_folder(root / folder)
    yield from _try(run, "systemctl", "daemon-reload")
    if (root / "etc/tmpfiles.d/edgeexit.conf").exists():
        yield f"kept the user {USER}: its group is that of 'edgeexit doctor --fix', which says how that is undone"
    else:
        yield from _try(run, "userdel", USER)


def why_unreachable(program: str, prefix: str) -> str | None:
    """Return why a service could not start this edgeexit; None if it can.

    Args:
        program: Path of the Python that runs it.
        prefix: Folder of its environment.
    """
    for path in (program, prefix, str(Path(program).resolve())):
        for hidden in _HIDDEN:
            if Path(path).is_relative_to(hidden):
                return (
                    f"{path} lies below {hidden}, which the services do not see: install edgeexit where all users can "
                    "read it (python3 -m venv /opt/edgeexit, then /opt/edgeexit/bin/pip install "
                    "'edgeexit[serve,client]'), "
                    "and run /opt/edgeexit/bin/edgeexit install-service"
                )
    return None


def _shipped(name: str) -> str:
    return (files("edgeexit.daemon.units") / name).read_text(encoding="utf-8")


def _filled(name: str, program: Sequence[str]) -> str:
    """Return a unit with the program in it; systemd has its own quoting (man systemd.service, "Command lines")."""
    return _shipped(name).replace(_PLACEHOLDER, " ".join(map(_quoted, program)))


def _quoted(word: str) -> str:
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if set(escaped) & set(" \t'\";\\") else escaped


def _write(file: InstalledFile, root: Path) -> str:
    path = root / file.path
    if file.kept and path.exists():
        return f"kept {path} as it is"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_beside(path, file.text.encode())
    path.chmod(file.mode)
    return f"wrote {path}"


def _write_token(file: InstalledFile, run: Run, root: Path) -> str:
    path = root / file.path
    if path.exists():
        return f"kept {path} as it is"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, file.mode)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(secrets.token_hex(32) + "\n")
    run(("chown", f"{USER}:{USER}", str(path)))
    return f"wrote {path}, a new token"


def _delete(file: InstalledFile, root: Path) -> Iterator[str]:
    path = root / file.path
    if not path.is_file():
        return
    if file.kept and not file.secret and path.read_text(encoding="utf-8") != file.text:
        yield f"kept {path}: you have changed it"
        return
    path.unlink()
    yield f"deleted {path}"


def _remove_folder(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        return
    if any(folder.iterdir()):
        yield f"kept {folder}: there is something in it"
        return
    folder.rmdir()
    yield f"deleted {folder}"


def _try(run: Run, *command: str) -> Iterator[str]:
    try:
        run(command)
    except ServeError as error:
        yield f"passed over: {error}"
    else:
        yield f"ran {' '.join(command)}"


def printed(plan: Plan, unwanted: Collection[str] = ()) -> Iterator[str]:
    """Return the lines that tell a user all that `install` would do.

    Args:
        plan: From `install_plan`.
        unwanted: Paths to leave out.
    """
    for file in plan.files:
        if file.path in unwanted:
            continue
        note = ", unless it is there" if file.kept else ""
        owner = f", owned by {USER}" if file.secret else ""
        yield f"# file /{file.path} (mode {file.mode:04o}{owner}{note})"
        yield "# 64 random hexadecimal digits\n" if file.secret else file.text
    for command in (*plan.before, *plan.after):
        yield f"# run {' '.join(command)}"
