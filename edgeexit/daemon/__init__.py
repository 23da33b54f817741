"""The daemon that serves bundles on a device, and the small privileged process that sets its clocks.

* `contracts`: what the parts know of each other; read it first;
* `service`: bundles, queue, engine and clocks: `models` loads them, `scheduler` says whose turn it is;
* `http`, `grpc`: the Open Inference Protocol; what both share is `inference` (from a request to its answer), `outputs`,
  `parameters`, `descriptions`, `statistics`, `access` (who may ask) and `listening`;
* `config`: what the daemon was told;
* `seeing`: metrics, logs and the dashboard;
* `clockd`: the process that alone may write clocks, and its client;
* `units`: systemd's units, and how they are installed.
"""
