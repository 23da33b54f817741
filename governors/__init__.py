"""Governors: which clocks the next piece of work runs at. One file a governor, found by name.

* `performance`: always the highest clocks;
* `powersave`: always the lowest;
* `fixed`: always the same;
* `stock`: follows the load as the kernel's devfreq governor simple_ondemand does;
* `schedutil`, `ondemand`, `interactive`: follow it as the kernel's governors of these names do;
* `predictive_exit`: the lowest clock that finishes the forecast work in time (Predictive Exit, arXiv 2206.04685);
* `deadline`: the cheapest clock that is still in time even if the forecast is wrong; the highest where no energy is
  known;
* `plan`: the least expected energy over the exit distribution, in time even if every forecast is wrong;
* `power_cap`, `temperature_ceiling`: any governor, below a power or a temperature; `capped` is how they wrap it.

A governor is pure, and imports only `edgeexit.protocols`, `edgeexit.errors` and other governors, so that it can be
read, copied and changed alone.
"""

if __name__ != "edgeexit.governors":
    raise ImportError(
        f"the governors are imported as edgeexit.governors, not as {__name__!r}: "
        "install edgeexit (pip install -e .) and leave the repository out of the import path"
    )
