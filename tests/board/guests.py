"""Two emulated machines whose Linux runs its own cpufreq and devfreq code, and Python in them.

The x86 board has acpi-cpufreq with one policy a CPU and runs this machine's own Python and environment; the arm64 board
has cpufreq-dt with one policy for four CPUs and a devfreq GPU, and runs Debian's Python with aarch64 wheels.

A guest runs *parts*: functions ``main(**arguments)`` of modules in this folder, which return what JSON can hold.
"""

import json
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from board.initramfs import INIT, make_initramfs, with_needed
from board.keep import keep
from board.packages import KEYRING, SUITE, unpack_aarch64_wheels, unpack_debian

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-system-aarch64": "qemu-system-arm",
    "iasl": "acpica-tools",
    "dtc": "device-tree-compiler",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
}
"""Program -> the Debian package that has it."""
BOTH = ("cpufreq_userspace", "cpufreq_ondemand", "cpufreq_conservative", "cpufreq_powersave")
SHARES = ("virtio_pci", "9pnet_virtio", "9p")
X86_MODULES = (*SHARES, "acpi-cpufreq", *BOTH)
ARM64_MODULES = (*SHARES, "cpufreq-dt", *BOTH, "governor_userspace", "governor_simpleondemand", "imx-bus")
X86_DEBIAN = ("linux-image", "busybox-static")
ARM64_DEBIAN = (
    *X86_DEBIAN,
    *("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libc6", "libssl3", "zlib1g", "libexpat1"),
    *("libffi8", "libgcc-s1", "libstdc++6", "libgomp1", "liblzma5", "libbz2-1.0", "libuuid1", "libsqlite3-0"),
)
ARM64_WHEELS = (
    *("onnxruntime==1.31.1", "numpy==2.4.6", "protobuf==7.36.2", "flatbuffers==25.12.19", "packaging==26.3"),
    *("psutil==7.2.2", "click==8.5.1", "nvidia-ml-py==13.615.71", "msgspec==0.22.0", "starlette==1.10.0"),
    *("uvicorn==0.54.0", "uvloop==0.23.0", "httptools==0.9.0", "prometheus-client==0.26.0", "anyio==4.16.0"),
    *("idna==3.20", "h11==0.16.0", "typing-extensions==4.16.0"),
)
ARM64_MACHINE = ("-cpu", "cortex-a72", "-smp", "4", "-m", "1024", "-nic", "none", "-nographic")
END = "EDGEEXIT-GUEST-ENDED"

START_X86 = """\
mount -t tmpfs tmpfs /newroot
cd /host
for name in *; do
    case "$name" in
        proc|sys|dev|run|tmp|job) ;;
        *) if [ -L "$name" ]; then cp -d "$name" /newroot/
           elif [ -d "$name" ]; then mkdir "/newroot/$name"; mount -o bind "$name" "/newroot/$name"; fi ;;
    esac
done
mkdir /newroot/run /newroot/tmp
for folder in {folders}; do
    if [ ! -d /newroot$folder ]; then mkdir -p /newroot$folder; mount -o bind /host$folder /newroot$folder; fi
done
"""
START_ARM64 = """\
mount -o bind /host /newroot
mount -t tmpfs tmpfs /newroot/run
mount -t tmpfs tmpfs /newroot/tmp
"""
START = """\
cd /
for folder in proc sys dev job; do
    [ -d /newroot/$folder ] || mkdir /newroot/$folder
    mount -o bind /$folder /newroot/$folder
done
chmod 1777 /newroot/tmp
chmod 755 /newroot/run
mkdir /newroot/dev/shm
mount -t tmpfs tmpfs /newroot/dev/shm
cd /newroot/tmp
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONPATH={path} \\
    chroot /newroot {python} -m board.in_guest
echo {end} $?
"""


class GuestFailedError(AssertionError):
    """A guest did not come to its end; the text ends with its console."""


@dataclass(frozen=True)
class Board:
    """An emulated machine that is ready to boot."""

    name: str
    command: tuple[str, ...]
    host: Path
    """What the guest sees, read-only, as /host."""
    start: str
    """How its /host becomes /newroot."""
    python: str
    path: tuple[str, ...] = ("/job",)
    carried: dict[str, Path] = field(default_factory=dict)
    """Name in /job -> folder of this machine to copy there."""


@dataclass(frozen=True)
class Answers:
    """What the parts returned that a guest ran."""

    board: str
    parts: dict[str, dict]
    elapsed_s: float

    def __getitem__(self, part):
        """Return what a part returned, or fail with its traceback."""
        found = self.parts.get(part) or {"error": f"it did not run; what did: {', '.join(self.parts)}"}
        assert not found["error"], f"{part} on the {self.board} board: {found['error']}"
        return found["value"]


def why_not():
    """Return why the boards cannot be booted here, or None if they can."""
    missing = {package for program, package in PROGRAMS.items() if shutil.which(program) is None}
    if not KEYRING.exists():
        missing.add("debian-archive-keyring")
    if missing:
        return f"no virtual boards here; for them: apt-get install {' '.join(sorted(missing))}"
    if platform.machine() != "x86_64":
        return f"no virtual boards here: the x86 board runs this machine's Python, and that is for {platform.machine()}"
    return None


def run(board, parts, folder, timeout_s=480.0):
    """Boot a board, run parts in it one after the other and return their `Answers`.

    Args:
        board: The board.
        parts: Name -> (module of this folder, keyword arguments of its `main`).
        folder: An empty folder, for what goes in and comes out.
        timeout_s: After so long the guest is killed.

    Raises:
        GuestFailedError: If it does not come to its end in time.
    """
    start_s = time.monotonic()
    _fill(board, parts, folder)
    console, ended = _boot(
        (*board.command, *_share("host", board.host, "on"), *_share("job", folder, "off")), timeout_s
    )
    results = folder / "results.json"
    if not ended or not results.exists():
        ran = list(json.loads(results.read_text())) if results.exists() else []
        raise GuestFailedError(
            f"the {board.name} board did not come to its end within {timeout_s} s; parts that did: {ran}; console:\n"
            f"{console[-8000:]}"
        )
    return Answers(board.name, json.loads(results.read_text()), time.monotonic() - start_s)


def project_wheel(folder):
    """Build the project's wheel from a copy of what belongs in it, in an empty folder, and return it."""
    source = folder / "source"
    source.mkdir()
    for name in ("edgeexit", "governors", "profiles"):
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, source)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    _run([*pip, "--wheel-dir", str(folder), str(source)])
    (wheel,) = folder.glob("*.whl")
    return wheel


def x86_board():
    """Return the board with acpi-cpufreq (600, 750, 1000 and 1500 MHz, one policy a CPU, two CPUs)."""
    key = [SUITE, X86_DEBIAN, X86_MODULES, INIT, _text("x86-pstates.dsl")]
    image = keep("x86-board", key, _build_x86)
    command = ("qemu-system-x86_64", "-M", "pc", "-cpu", "max,vendor=GenuineIntel,family=6,model=60", "-smp", "2")
    command += ("-m", "1024", "-nic", "none", "-nographic", "-no-reboot", *_kernel(image, "ttyS0"))
    command += ("-acpitable", f"file={image / 'pstates.aml'}", "-serial", "mon:stdio", "-serial", "null")
    folders = {sys.prefix, sys.base_prefix, str(PROJECT), *(f for f in sys.path if Path(f).is_dir())}
    start = START_X86.format(folders=" ".join(shlex.quote(f) for f in sorted(folders)))
    return Board("x86", (*command, "-serial", "null"), Path("/"), start, sys.executable)


def arm64_board(wheel):
    """Return the board with cpufreq-dt (600 to 1500 MHz by 300, four CPUs) and a devfreq GPU.

    Args:
        wheel: The project's wheel.
    """
    key = [SUITE, ARM64_DEBIAN, ARM64_WHEELS, ARM64_MODULES, ARM64_MACHINE, INIT, _text("arm64-board.dtsi")]
    image = keep("arm64-board", key, _build_arm64)
    command = ("qemu-system-aarch64", "-M", "virt", *ARM64_MACHINE, "-no-reboot", *_kernel(image, "ttyAMA0"))
    command += ("-dtb", str(image / "board.dtb"))
    path = ("/job", "/job/edgeexit.whl.d", "/wheels")
    host = image / "root"
    return Board("arm64", command, host, START_ARM64, "/usr/bin/python3.11", path, {"edgeexit.whl.d": wheel})


def _fill(board, parts, folder):
    shutil.copytree(HERE, folder / "board", ignore=shutil.ignore_patterns("__pycache__"))
    for name, wheel in board.carried.items():
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / name)
    (folder / "parts.json").write_text(json.dumps(parts))
    start = START.format(path=":".join(board.path), python=shlex.quote(board.python), end=END)
    (folder / "start.sh").write_text(board.start + start)


def _boot(command, timeout_s):
    """Return what the guest wrote on its console, and whether it came to its end."""
    qemu = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    try:
        console, _ = qemu.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        qemu.kill()
        console, _ = qemu.communicate()
    except BaseException:
        qemu.kill()
        raise
    return console, re.search(rf"{END} 0\b", console) is not None


def _share(tag, folder, readonly):
    return ("-virtfs", f"local,path={folder},mount_tag={tag},security_model=none,readonly={readonly},multidevs=remap")


def _kernel(image, console):
    return (
        "-kernel",
        str(image / "vmlinuz"),
        "-initrd",
        str(image / "initrd"),
        "-append",
        f"console={console} quiet panic=-1",
    )


def _build_x86(folder):
    system = folder.parent / "system"
    names = unpack_debian("amd64", X86_DEBIAN, system)
    (folder / "packages.txt").write_text("\n".join(names))
    _add_kernel(system, X86_MODULES, folder)
    _run(["iasl", "-p", str(folder / "pstates"), str(HERE / "x86-pstates.dsl")])


def _build_arm64(folder):
    system, root = folder.parent / "system", folder / "root"
    names = unpack_debian("arm64", ARM64_DEBIAN, system)
    _add_kernel(system, ARM64_MODULES, folder)
    _add_device_tree(folder)
    root.mkdir()
    for name in ("usr", "lib", "etc"):
        left_out = shutil.ignore_patterns("modules", "doc", "locale", "man")
        shutil.copytree(system / name, root / name, symlinks=True, ignore=left_out)
    for name in ("dev", "job", "proc", "run", "sys", "tmp"):
        (root / name).mkdir()
    names += unpack_aarch64_wheels(ARM64_WHEELS, root / "wheels")
    (folder / "packages.txt").write_text("\n".join(names))
    _compile((root / "usr/lib/python3.11", root / "wheels"))


def _add_kernel(system, modules, folder):
    (kernel,) = (system / "boot").glob("vmlinuz-*")
    shutil.copy(kernel, folder / "vmlinuz")
    files = with_needed(system / "lib" / "modules", modules)
    (folder / "initrd").write_bytes(make_initramfs(system / "bin" / "busybox", files))


def _add_device_tree(folder):
    """Write the device tree of QEMU's machine with the board's clocks in it."""
    stock = folder / "stock.dtb"
    _run(["qemu-system-aarch64", "-M", f"virt,dumpdtb={stock}", *ARM64_MACHINE])
    source = _run(["dtc", "-q", "-I", "dtb", "-O", "dts", str(stock)])
    clocked = "\n\t\t\tclocks = <&pmdclk>;\n\t\t\toperating-points-v2 = <&cpu_opp>;\n"
    source, count = re.subn(r"(\bcpu@\d+ \{)", lambda found: found[1] + clocked, source)
    assert count == 4, f"the machine's device tree has {count} CPUs"
    end = source.rindex("};")
    board = folder / "board.dts"
    board.write_text(source[:end] + _text("arm64-board.dtsi") + source[end:])
    _run(["dtc", "-q", "-I", "dts", "-O", "dtb", "-o", str(folder / "board.dtb"), str(board)])


def _compile(folders):
    """Byte-compile for the guest's Python where this machine has one of the same version: it then starts faster."""
    for python in (sys.executable, "python3.11", "/usr/bin/python3"):
        command = [python, "-c", "import sys; sys.exit(sys.version_info[:2] != (3, 11))"]
        if shutil.which(python) and subprocess.run(command, check=False, capture_output=True).returncode == 0:
            unchecked = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
            subprocess.run([python, *unchecked, *map(str, folders)], check=False, capture_output=True)
            return


def _text(name):
    return (HERE / name).read_text(encoding="utf-8")


def _run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout
