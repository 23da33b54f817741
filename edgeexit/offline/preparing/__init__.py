"""From any ONNX classifier and a folder of samples to a calibrated bundle: what `edgeexit prepare` does.

* `prepare`: the whole of it, step by step; `options`: what a user can ask for; `preparation`: what it came to;
* `bench`: what every step works with; `work_folder`: what finished steps came to, so that an interrupted run goes on
  where it stopped;
* `sources`: the model, the samples and their parts; `choosing`: where the network is cut and which exits are kept;
* `building`: features, heads and the bundle; `shrinking`: compression before and after the exits;
* `calibrating`: rules and certificate; `judging`: figures on samples that nothing was chosen on, and times;
  `finishing`: all that comes after the draft of a bundle;
* `worth`: is early exit worth it for this model; `text`: the report.
"""
