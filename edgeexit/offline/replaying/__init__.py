"""Replay: recorded traces through any exit rule, governor and board, many samples at once.

`paths` says what a rule does with each sample, `arrivals` when inferences are asked for, `noise` how latencies vary,
`engine` runs a governor over all of it as a session on the simulated board would (`asking` before each piece of work,
`resting` between inferences), `results` holds the outcome, `study` does it for several rules, governors and deadlines
of a board, and `standing` says how one governor does against the bounds and the others. Every joule is simulated.
"""
