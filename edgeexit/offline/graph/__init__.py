"""Prepare a model: cut it into a bundle and count its work. Needs the `prepare` extra.

* `split`: `split_model`, from a model file to a bundle;
* `source`: reading a model and what may be in it;
* `cuts`: where a model can be cut, in which order its exits stand;
* `evidence`: the nodes that turn logits into evidence;
* `shapes`: types and shapes of a graph's values;
* `macs`: multiply-accumulates and parameters;
* `random_weights`: moderate random weights, for tests and benchmarks.
"""
