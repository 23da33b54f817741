"""Guarantees: bounds on what an exit setting costs that hold with a stated confidence, and budgets that are met.

* `p_values`: exact tests; `counts`: what a setting lost and gained; `paths`: settings from safe to cheap, and `Bound`;
* `certify`: Learn-then-Test over a path; `certified_rules`: the same for a bundle's rules;
* `budget`: EERO; `time_costs`: settings chosen by time;
* `recalibrate`: all of it for a bundle and a user's samples, what `edgeexit calibrate` calls; `text`: its report;
* `study`: how often certificates are broken over random splits.
"""
