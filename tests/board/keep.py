"""A folder outside the project where what the virtual boards need is fetched or built once."""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

FOLDER = Path(
    os.environ.get("EDGEEXIT_TEST_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
)
"""Read at import: the tests give each test a cache folder of its own, which would be empty."""


def keep(name, key, build):
    """Return the folder `name` for `key` (JSON values), made by `build(folder)` unless it is there from a run before.

    It is made beside its place and then renamed: a build that is cut off leaves nothing that could be taken for it.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    place = FOLDER / "edgeexit-boards" / f"{name}-{digest}"
    if not place.is_dir():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent, prefix="making-", ignore_cleanup_errors=True) as making:
            folder = Path(making) / name
            folder.mkdir()
            build(folder)
            _rename(folder, place)
    return place


def _rename(folder, place):
    try:
        folder.rename(place)
    except OSError:
        if not place.is_dir():
            raise
        shutil.rmtree(folder)  # another run was faster
