"""Contract checks for plug-ins and backends: yours can be held to the same tests as ours.

* `edgeexit.testing.governors`: `check_governor`;
* `edgeexit.testing.exit_rules`: `check_exit_rule`;
* `edgeexit.testing.devices`: `check_device`, `check_clock_domain`;
* `edgeexit.testing.observations`: observations and cost tables to ask a governor with;
* `edgeexit.testing.thermal_model`: `WarmBoard`, a simulated board that warms up under load;
* `edgeexit.testing.fake_sysfs`: `FakeTree`, a machine in memory whose clock files answer as the kernel's do;
* `edgeexit.testing.fuse`: `mounted`, the same machine by true system calls.

A check raises AssertionError with what was found, so it reads well in any test framework::

    from edgeexit.testing.governors import check_governor

    def test_my_governor_follows_the_contract():
        check_governor(MyGovernor())

Nothing here needs more than Python's standard library and NumPy, but for the last, which needs mfusepy and libfuse; and
nothing is imported before it is asked for.
"""
