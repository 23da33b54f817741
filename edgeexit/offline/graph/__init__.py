"""Prepare a model: cut it into a bundle and count its work. Needs the `prepare` extra.

* `split`: `split_model`, from a model file to a bundle;
* `source`: reading a model and what may be in it;
* `cuts`: where a model can be cut, in which order its exits stand;
* `cut_candidates`: `find_cuts`, `candidate_at` and `shortlist`, the places for exits and what a head can read there;
  `crossings`, `layouts`, `side_inputs` and `why_not` serve them;
* `piece_times`: how long the pieces between cuts take;
* `evidence`: the nodes that turn logits into evidence;
* `shapes`: types and shapes of a graph's values;
* `macs`: multiply-accumulates and parameters;
* `random_weights`: moderate random weights, for tests and benchmarks.
"""
