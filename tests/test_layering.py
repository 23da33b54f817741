"""Imports go down only, and each third-party package has its one home."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = {
    "errors": 0,
    "protocols": 0,
    "clock": 0,
    "beside": 0,
    "profiles": 0,
    "device": 1,
    "bundle": 1,
    "exits": 1,
    "registry": 1,
    "governors": 1,
    "reference": 0,
    "runtime": 2,
    "testing": 2,
    "open_inference": 2,
    "client": 3,
    "daemon": 3,
    "offline": 3,
    "cli": 4,
    "__main__": 5,
}
NEIGHBOURS = {("exits", "registry")}
"""`exits.settings` makes rules by name: the one import within a layer."""
HOMES = {
    "onnxruntime": ("edgeexit/runtime/engine/", "edgeexit/offline/compress/quantise.py"),
    "pynvml": ("edgeexit/device/nvml",),
    "psutil": ("edgeexit/device/host.py",),
    "google": ("edgeexit/bundle/graph/", "edgeexit/daemon/grpc/", "edgeexit/offline/graph/"),
    "grpc": ("edgeexit/daemon/grpc/",),
    "onnx": ("edgeexit/offline/",),
    "sklearn": ("edgeexit/offline/",),
    "scipy": ("edgeexit/offline/",),
    "threadpoolctl": ("edgeexit/offline/",),
    "torch": ("edgeexit/offline/",),
    "tqdm": ("edgeexit/offline/",),
    "matplotlib": ("edgeexit/offline/",),
    "mfusepy": ("edgeexit/testing/fuse.py",),
    "PIL": ("edgeexit/runtime/samples.py",),
    "click": ("edgeexit/cli/",),
    "starlette": ("edgeexit/daemon/http/",),
    "uvicorn": ("edgeexit/daemon/http/",),
    "uvloop": ("edgeexit/daemon/http/",),
    "httptools": ("edgeexit/daemon/http/",),
    "tomli": ("edgeexit/daemon/config_sources.py",),
    "tomllib": ("edgeexit/daemon/config_sources.py",),
    "httpx": ("edgeexit/client/",),
    "prometheus_client": ("edgeexit/daemon/seeing/",),
    "msgspec": ("edgeexit/open_inference/", "edgeexit/daemon/", "edgeexit/client/"),
    "numpy": (
        "governors/plan",
        "edgeexit/runtime/",
        "edgeexit/offline/",
        "edgeexit/exits/",
        "edgeexit/bundle/",
        "edgeexit/protocols.py",
        "edgeexit/testing/",
        "edgeexit/cli/",
        "edgeexit/open_inference/",
        "edgeexit/client/",
        "edgeexit/daemon/",
    ),
}
NOT_ON_THE_DEVICE = ("torch", "onnx", "sklearn", "matplotlib")
GOVERNOR_MAY_IMPORT = {"edgeexit.errors", "edgeexit.protocols", "edgeexit.governors"}


def python_files():
    return sorted([*ROOT.glob("edgeexit/**/*.py"), *ROOT.glob("governors/*.py"), *ROOT.glob("profiles/*.py")])


def imports(path):
    """Every module that a file imports, in functions too; those for type checkers alone do not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        child
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for part in node.body
        for child in ast.walk(part)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level == 1 and path.parent.name == "governors":  # as which alone a type checker knows that folder
                yield f"edgeexit.governors.{node.module}"
                continue
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def package_of(path):
    relative = path.relative_to(ROOT)
    return relative.parts[0] if relative.parts[0] != "edgeexit" else relative.with_suffix("").parts[1]


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_only(path):
    here = package_of(path)
    if here == "__init__":
        return
    for module in imports(path):
        if not module.startswith("edgeexit."):
            continue
        there = module.split(".")[1]
        allowed = there == here or LAYERS[there] < LAYERS[here] or (here, there) in NEIGHBOURS
        assert allowed, f"{path.relative_to(ROOT)} ({here}) imports {module}"


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_each_third_party_package_has_one_home(path):
    relative = str(path.relative_to(ROOT))
    for module in imports(path):
        top = module.split(".")[0]
        if top in sys.stdlib_module_names or top == "edgeexit":
            continue
        assert top in HOMES, f"{relative} imports {top}, which has no home: name one in this test"
        assert relative.startswith(HOMES[top]), f"{relative} imports {top}, whose home is {HOMES[top]}"


def test_governors_import_only_the_contracts():
    for path in ROOT.glob("governors/*.py"):
        for module in imports(path):
            if module.startswith("edgeexit"):
                assert ".".join(module.split(".")[:2]) in GOVERNOR_MAY_IMPORT, f"{path.name} imports {module}"


def modules_after(statement):
    code = f"import sys\n{statement}\nprint(*sorted(sys.modules))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_the_device_path_imports_no_training_or_plotting_package():
    statement = (
        "import edgeexit\n"
        "bundle = edgeexit.load_bundle('fashion-resnet')\n"
        "device = edgeexit.open_device('simulated:jetson-tx2')\n"
        "import numpy\n"
        "with edgeexit.Session(bundle, device, edgeexit.load_governor('deadline')) as session:\n"
        "    session.infer(numpy.zeros((1, 1, 28, 28), 'float32'), latency_budget_s=1.0)\n"
    )
    assert modules_after(statement).isdisjoint(NOT_ON_THE_DEVICE)


def test_importing_edgeexit_imports_neither_numpy_nor_onnxruntime():
    assert modules_after("import edgeexit").isdisjoint({"numpy", "onnxruntime", "psutil", "click"})


def test_loading_a_bundle_does_not_import_onnxruntime():
    assert "onnxruntime" not in modules_after("import edgeexit; edgeexit.load_bundle")
