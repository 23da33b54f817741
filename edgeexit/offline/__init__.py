"""What is done once, on any machine: prepare, fit, calibrate, compare.

* `graph`: cut an ONNX model into a bundle;
* `traces`, `record`: what every exit says about a data set; `replay`: exit rules on that, without the network;
* `answers`, `vectorised`: exit rules over all samples at once; `fit`: the predictor; `candidates`, `exit_thresholds`,
  `calibrate`: settings of every exit rule;
* `policy_table`, `policy_text`, `comparison`, `bootstrap`, `forecast_quality`, `wall_time`: rules compared;
* `measure`: what a bundle costs on a board, with `measure_plan`, `_point`, `_switch`, `_bench`, `_files`, `_profile`,
  `_notes` and `_text`;
* `demo`, `demo_text`, `demo_findings`, `demo_report`, `demo_images`, `plots`, `label_places`: rules and governors on a
  simulated board;
* `replaying`: rules and governors on recorded traces, many samples at once; `reporting`: pictures of what that found;
* `clairvoyant`: the least energy with hindsight; `optimum`: without foresight, by `verdict_states` (what a governor can
  know), `stretches` (costs from look to look) and `backward` (one period, solved backwards);
* `fashion_mnist`, `reference_nets`, `train`, `export`, `reference`: the reference bundles.
"""
