"""What a guest starts with: busybox, the kernel's modules and an /init that hands over to a script of the host's."""

import re

LIMIT_S = 900
"""A guest that nobody watches any more powers itself off after so long."""
INIT = f"""\
#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in $(cat /modules); do
    insmod /lib/modules/$module || echo "insmod $module failed"
done
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=loose,ro host /host || echo "no host share"
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144,cache=none job /job || echo "no job share"
(sleep {LIMIT_S}; poweroff -f) &
sh /job/start.sh
poweroff -f
"""
FOLDERS = ("bin", "dev", "host", "job", "lib", "lib/modules", "newroot", "proc", "sys")


def make_initramfs(busybox, modules):
    """Return an initramfs as bytes (cpio, "newc" format: Linux Documentation/driver-api/early-userspace).

    Args:
        busybox: A static busybox of the guest's architecture.
        modules: The module files, in the order to insert them.
    """
    entries = [(folder, 0o040755, b"") for folder in FOLDERS]
    entries += [("bin/busybox", 0o100755, busybox.read_bytes()), ("init", 0o100755, INIT.encode())]
    entries += [("modules", 0o100644, "\n".join(module.name for module in modules).encode())]
    entries += [(f"lib/modules/{module.name}", 0o100644, module.read_bytes()) for module in modules]
    return b"".join(_entry(i, *entry) for i, entry in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1))


def with_needed(folder, names):
    """Return the files of the modules `names` under `folder` and of those they need, each behind what it needs.

    What a module needs is read from its "depends=" line, as depmod does; a module that the folder lacks is built into
    the kernel.
    """
    files = {path.stem.replace("-", "_"): path for path in folder.rglob("*.ko")}
    ordered = []

    def add(name):
        path = files.get(name.replace("-", "_"))
        if path is None or path in ordered:
            return
        for needed in _depends(path):
            add(needed)
        ordered.append(path)

    for name in names:
        add(name)
    return ordered


def _depends(path):
    return re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())[1].decode().replace(",", " ").split()


def _entry(number, name, mode, data):
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    header = b"070701" + "".join(f"{field:08x}" for field in fields).encode() + name.encode() + b"\0"
    return _padded(header) + _padded(data)


def _padded(data):
    return data + bytes(-len(data) % 4)
