"""The Open Inference Protocol, version 2, over gRPC: an extra beside HTTP, by the same rules.

* `server`: binds, listens and stops; `calls`: what every call passes: access, limits, errors;
* `methods`: what each method of the protocol answers;
* `requests`, `responses`: the protocol's messages to what HTTP's have become too, and back;
* `schema`: the messages themselves; `wire`: raw tensors taken out of a message without a copy;
* `intake`: how much may be received at the same time; `failures`: what clients are told of errors.

Service and messages are those of KServe and of NVIDIA's Triton, so that their clients work unchanged.
"""
