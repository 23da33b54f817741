"""A file that is to be read and is not there is bad data, whichever option or argument names it."""

import pytest

from edgeexit.cli import main


@pytest.mark.parametrize(
    ("command", "option"),
    [
        *(("prepare", option) for option in (None, "--data", "--labels", "--preprocess")),
        *(("calibrate", option) for option in ("--data", "--labels", "--costs")),
    ],
)
def test_a_file_that_is_not_there_is_3(command, option, tmp_path, capsys):
    there, missing = tmp_path / "there", tmp_path / "missing"
    there.write_bytes(b"")
    named = {"--data": there} | ({} if option is None else {option: missing})
    words = [command, missing if option is None else there, *(word for pair in named.items() for word in pair)]
    assert main(list(map(str, words))) == 3
    assert capsys.readouterr().err == f"edgeexit: error: {missing} does not exist\n"
