"""The names that users may rely on."""

import re
from pathlib import Path

import edgeexit

ROOT = Path(__file__).parent.parent
PUBLIC = (
    *("open_device", "load_profile", "load_bundle", "load_governor", "load_exit_rule"),
    *("Session", "Result", "Device", "DeviceProfile", "Bundle", "Governor", "Observation", "Decision"),
    *("ExitRule", "Evidence", "Verdict", "EdgeExitError", "Client", "AsyncClient", "__version__"),
)


def test_the_public_names_are_those_that_were_promised():
    assert sorted(edgeexit.__all__) == sorted(PUBLIC)


def test_every_public_name_can_be_had_and_has_a_docstring():
    for name in PUBLIC:
        value = getattr(edgeexit, name)
        if name != "__version__":
            assert value.__doc__, name


def test_dir_lists_the_public_names():
    assert dir(edgeexit) == sorted(PUBLIC)


def test_an_unknown_name_is_an_attribute_error():
    assert not hasattr(edgeexit, "no_such_name")


def test_the_version_is_that_of_the_package():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'^version = "(.*)"$', text, re.MULTILINE).group(1) == edgeexit.__version__


def test_every_error_is_an_edgeexit_error():
    from edgeexit import errors

    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert len(classes) > 10
    assert all(issubclass(c, (errors.EdgeExitError, Warning)) for c in classes)
