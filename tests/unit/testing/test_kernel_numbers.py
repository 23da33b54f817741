import pytest

from edgeexit.testing.kernel_numbers import parse_unsigned, scan_unsigned


@pytest.mark.parametrize(
    ("text", "number"),
    [("1500000\n", 1_500_000), ("  12 junk", 12), ("0x10", 0), ("010", 10), ("-5", None), ("banana", None), ("", None)],
)
def test_scanf_reads_leading_decimal_digits(text, number):
    assert scan_unsigned(text) == number


@pytest.mark.parametrize(
    ("text", "number"),
    [("1500000\n", 1_500_000), ("0x10", 16), ("010", 8), ("+7", 7), ("0", 0), ("12 junk", None), ("-5", None)],
)
def test_kstrtoul_reads_one_number_in_the_notation_of_c_and_nothing_else(text, number):
    assert parse_unsigned(text) == number
