"""Cut an ONNX model into pieces and join pieces again, with protobuf alone.

* `schema`: the part of ONNX's protobuf schema that this takes;
* `element_types`: ONNX's element types by number, name and, where a file lacks them, by inference;
* `dataflow`: who makes and who uses each value of a graph;
* `cut`: `cut` and `join`.

The device prepares its own pieces from a graph that ONNX Runtime has optimised; the `onnx` package is not
needed for that and is not imported.
"""
