"""The daemon on the fake machine of `chaos_clocks.py`, and a client that asks it all the time and checks answers."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

import edgeexit
from edgeexit.client import Client
from edgeexit.daemon.access import Access
from edgeexit.daemon.config import ServeConfig
from edgeexit.daemon.http.app import make_app
from edgeexit.daemon.http.seeing import look_at
from edgeexit.daemon.http.server import run
from edgeexit.daemon.listening import open_unix
from edgeexit.daemon.notify import Notifier
from edgeexit.daemon.running import Daemon
from edgeexit.daemon.service import DaemonService
from edgeexit.daemon.settings import ServedBundle, ServiceSettings
from edgeexit.device.host import HostDevice
from edgeexit.device.sysfs import Tree
from edgeexit.errors import EdgeExitError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODEL: Final = "fashion-resnet"
IMAGES: Final = 20
PAUSE_S: Final = 0.005


def be_daemon(root: Path, socket: Path) -> None:
    """Serve on a Unix socket beside clockd's, with the clocks of the fake machine, until SIGTERM."""
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    settings = ServiceSettings(governor="powersave", clockd_socket=socket)
    service = DaemonService(
        [ServedBundle(name=MODEL, path=MODEL)],
        settings,
        open_board=lambda _: HostDevice(tree=Tree(root), run_folder=root.parent / "none", nvml=False, looks_only=True),
    )
    config = ServeConfig()
    access = Access(None)
    with open_unix(daemon_socket(socket), 0o600) as bound:
        daemon = Daemon(service, lambda: make_app(service, config, access, look_at(service)), config, Notifier(None))
        run(daemon.run([bound]))


def daemon_socket(clockd_socket: Path) -> Path:
    """Return where the daemon listens."""
    return clockd_socket.with_name("serve.sock")


class Asker:
    """Asks for one answer after the other in a thread of its own.

    Attributes:
        counted: How often what came of a request: "right", "wrong", or the class of an error.
    """

    def __init__(self, socket: Path) -> None:
        self.counted: Counter[str] = Counter()
        self._socket = daemon_socket(socket)
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def close(self) -> Counter[str]:
        """Stop; return what came of the requests."""
        self._enough.set()
        self._thread.join()
        return self.counted

    def _ask(self) -> None:
        images, expected = _images_and_answers()
        with Client(unix=self._socket, retries=0) as client:
            number = 0
            while not self._enough.is_set():
                index = number % len(images)
                number += 1
                try:
                    found = client.infer(MODEL, {"image": images[index]}, exit_rule="threshold")
                except EdgeExitError as error:
                    self.counted[type(error).__name__] += 1
                    time.sleep(10 * PAUSE_S)
                    continue
                self.counted["right" if int(found.labels[0]) == expected[index] else "wrong"] += 1
                time.sleep(PAUSE_S)


def _images_and_answers() -> tuple[NDArray[Any], list[int]]:
    with np.load(Path(edgeexit.__file__).parent / "reference" / "fashion-images.npz") as stored:
        images = stored["images"][:IMAGES].reshape(-1, 1, 1, 28, 28).astype(np.float32) / np.float32(255.0)
    bundle = edgeexit.load_bundle(MODEL)
    with (
        edgeexit.open_device("simulated:jetson-tx2") as board,
        edgeexit.Session(bundle, board, exit_rule="threshold") as session,
    ):
        return images, [session.infer(image).label for image in images]
