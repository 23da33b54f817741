"""What is done once, on any machine: prepare, fit, calibrate, compare.

* `graph`: cut an ONNX model into a bundle;
* `traces`, `record`: what every exit says about a data set; `replay`: exit rules on that, without the network;
* `fit`: the predictor; `candidates`, `calibrate`: settings of every exit rule;
* `policy_table`, `policy_text`, `comparison`, `bootstrap`, `forecast_quality`, `wall_time`: rules compared;
* `measure`: what a bundle costs on a board, with `measure_plan`, `_point`, `_switch`, `_bench`, `_files`, `_profile`,
  `_notes` and `_text`;
* `demo`, `demo_text`, `demo_findings`, `plots`, `clairvoyant`: rules and governors together on a simulated board;
* `fashion_mnist`, `reference_nets`, `train`, `export`, `reference`: the reference bundles.
"""
