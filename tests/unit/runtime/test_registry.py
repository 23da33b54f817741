"""What a user is told whose options do not fit a governor or an exit rule."""

from types import SimpleNamespace

import pytest

from edgeexit import registry
from edgeexit.errors import OptionError
from edgeexit.registry import load_exit_rule, load_governor


@pytest.fixture
def install(monkeypatch):
    """Install a governor called "ours"."""

    def install_it(factory):
        point = SimpleNamespace(name="ours", load=lambda: factory)
        monkeypatch.setattr(registry, "entry_points", lambda group: [point])

    return install_it


def test_an_option_that_is_missing_is_named():
    with pytest.raises(OptionError, match=r"^governor 'fixed' needs the option frequency_hz$"):
        load_governor("fixed")


def test_all_options_that_are_missing_are_named(install):
    install(lambda *, low_hz, high_hz, step_hz=1: None)
    with pytest.raises(OptionError, match=r"^governor 'ours' needs the options low_hz, high_hz$"):
        load_governor("ours")


def test_the_number_of_exits_is_no_option_of_an_exit_rule():
    with pytest.raises(OptionError, match=r"^exit rule 'threshold' needs the option threshold$"):
        load_exit_rule("threshold", 3)


def test_an_option_that_nobody_knows_is_named_with_those_there_are():
    with pytest.raises(OptionError, match=r"^governor 'fixed' does not know the option mhz; it knows frequency_hz$"):
        load_governor("fixed", mhz=1)
    with pytest.raises(OptionError, match=r"^governor 'performance' does not know the option mhz; it knows none$"):
        load_governor("performance", mhz=1)


def test_a_value_that_a_governor_trips_over_is_told_in_its_own_words(install):
    def make(**options):
        raise TypeError("two is not a number")

    install(make)
    with pytest.raises(OptionError, match=r"^governor 'ours' cannot be made with \{'a': 'two'\}: two is not a number$"):
        load_governor("ours", a="two")
