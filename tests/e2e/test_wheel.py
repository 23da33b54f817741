"""The wheel holds all that a user needs: it is built, unpacked elsewhere and used from there."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ["edgeexit", "governors", "profiles", "setup.py", "pyproject.toml", "README.md", "LICENSE"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for part in PARTS:
        path = ROOT / part
        if path.is_dir():
            shutil.copytree(path, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source / part)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "."]
    subprocess.run([*pip, "--wheel-dir", str(folder)], cwd=source, check=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def test_python_in_the_folder_of_the_source_finds_all_of_it():
    code = "import edgeexit; print(edgeexit.load_governor('plan').name, edgeexit.load_profile('jetson-tx2').name)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path += {sys.path[1:]!r}; {code}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("plan jetson-tx2\n", "")


def run(site, *arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=site.parent,
        env={"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(site.parent / "cache")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_it_is_the_wheel_that_is_imported(site):
    code = "import edgeexit, edgeexit.governors, edgeexit.profiles as p; print(edgeexit.__file__, p.__file__)"
    assert run(site, "-c", code).count(str(site)) == 2


def test_the_demo_runs_from_it(site):
    report = json.loads(run(site, "-m", "edgeexit", "demo", "--images", "4", "--json"))
    assert len(report["policies"]) >= 10


def test_both_reference_bundles_are_in_it_and_small(site):
    sizes = [path.stat().st_size for path in (site / "edgeexit" / "reference").rglob("*") if path.is_file()]
    assert {p.name for p in (site / "edgeexit" / "reference").iterdir() if p.is_dir()} >= {
        "fashion-resnet",
        "fashion-vgg",
    }
    assert sum(sizes) < 8e6


def test_no_test_script_or_folder_of_the_project_is_in_it(site):
    assert sorted(p.name for p in site.iterdir() if not p.name.endswith(".dist-info")) == ["edgeexit"]
