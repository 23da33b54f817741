"""Exit rules: from what the exits have said so far to "stop" or "look there next", one rule a file.

Each class is an `edgeexit.protocols.ExitRule`, made by name with `edgeexit.load_exit_rule`:

* controls: `last`, `fixed` (one exit, nothing else is looked at);
* look at every exit and stop when it is sure enough: `threshold` (one for all exits or one for each),
  `entropy`, `margin`, `patience`, `check_and_cap`;
* forecast the exit that will answer and look only there: `predictive_exit` (as published), `forecast`
  (with the learned predictor of `predictor`).

`options` checks parameters; `verdicts` and `answers` make the verdicts in advance, so that judging allocates little;
`settings` makes rules from the calibrated settings in a bundle.
"""
