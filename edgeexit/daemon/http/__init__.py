"""The daemon's network side: the Open Inference Protocol over HTTP, with limits.

* `app`: puts the routes together, and before them `guard` (who may ask, by the rules of `daemon.access`) and `limits`;
* `refusal`: the short answers of those two;
* `open_inference`: the protocol's routes: `infer`, `metadata`, `repository`; `failures` says what clients are told of
  errors, `openapi` describes the API;
* `server`, `connection`: the HTTP server, and one connection of it.

What gRPC needs too stands above, in `edgeexit.daemon`.
"""
