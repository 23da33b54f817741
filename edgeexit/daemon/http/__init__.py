"""The daemon's network side: the Open Inference Protocol over HTTP, limits and access.

* `app`: puts the routes together, and before them `guard` (who may ask, by the rules of `access`) and `limits`;
* `refusal`: the short answers of those two;
* `open_inference`: the protocol's routes: `infer`, `metadata`, `repository`, `statistics`; `outputs` and `parameters`
  say what goes over the wire, `failures` what clients are told of errors, `openapi` describes the API;
* `server`, `connection`, `listening`: the HTTP server, one connection of it, and its sockets.
"""
