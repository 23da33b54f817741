"""What the guests run: Debian packages and Python wheels, fetched without touching this machine's own package state.

Debian 12 for every guest, whatever runs here: the facts that the tests compare with are those of its Linux 6.1.
"""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

SUITE = "bookworm"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
WHEEL_PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")
"""What the glibc 2.36 of Debian 12 takes, newest first."""

APT_CONF = """\
Dir::State "{state}";
Dir::State::lists "{state}/lists";
Dir::State::status "{state}/status";
Dir::Cache "{state}/cache";
Dir::Etc::sourcelist "{state}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "{architecture}";
#clear APT::Architectures;
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "";
Acquire::Retries "3";
"""


class NotFetchedError(Exception):
    """A package could not be fetched or unpacked."""


def unpack_debian(architecture, names, folder):
    """Unpack Debian packages into `folder` and return their file names, with versions.

    Args:
        architecture: "amd64" or "arm64".
        names: Packages; "linux-image" is the newest stock kernel's.
        folder: Where to; the downloads lie beside it.
    """
    environment = _apt_state(folder.parent / "apt", architecture)
    _run(["apt-get", "-qq", "update"], environment)
    wanted = [_kernel(architecture, environment) if name == "linux-image" else name for name in names]
    debs = folder.parent / "debs"
    debs.mkdir()
    _run(["apt-get", "-qq", "download", *wanted], environment, cwd=debs)
    for deb in debs.iterdir():
        _run(["dpkg-deb", "-x", str(deb), str(folder)])
    return sorted(deb.name for deb in debs.iterdir())


def unpack_aarch64_wheels(requirements, folder):
    """Unpack wheels for a 64-bit ARM Debian 12 into `folder`, to stand on PYTHONPATH, and return their file names."""
    wheels = folder.parent.parent / "wheels"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.11", "--implementation", "cp", "--dest", str(wheels)]
    for platform in WHEEL_PLATFORMS:
        command += ["--platform", platform]
    _run([*command, *requirements])
    for wheel in wheels.iterdir():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    return sorted(wheel.name for wheel in wheels.iterdir())


def _apt_state(state, architecture):
    (state / "lists" / "partial").mkdir(parents=True)
    (state / "cache" / "archives" / "partial").mkdir(parents=True)
    (state / "status").touch()
    (state / "sources.list").write_text(f"deb [signed-by={KEYRING}] {find_mirror()} {SUITE} main\n")
    conf = state / "apt.conf"
    conf.write_text(APT_CONF.format(state=state, architecture=architecture))
    return {**os.environ, "APT_CONFIG": str(conf)}


def find_mirror(folder=Path("/etc/apt")):
    """Return where this machine fetches Debian 12 from, by its own list of sources in either notation."""
    files = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]
    for file in filter(Path.is_file, files):
        for entry in re.split(r"\n\s*\n" if file.suffix == ".sources" else r"\n", file.read_text(encoding="utf-8")):
            words = re.sub(r"^#.*$|\[[^]]*\]", "", entry, flags=re.MULTILINE).split()
            if SUITE in words and "main" in words:
                return next(word for word in words if "://" in word)
    raise NotFetchedError(f"this machine's list of package sources in {folder} does not have Debian {SUITE}")


def _kernel(architecture, environment):
    """Return the real package that linux-image-ARCHITECTURE depends on, for instance linux-image-6.1.0-50-arm64."""
    depends = _run(["apt-cache", "depends", f"linux-image-{architecture}"], environment)
    return re.search(rf"linux-image-\d\S*-{architecture}", depends)[0]


def _run(command, environment=None, cwd=None):
    done = subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NotFetchedError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout
