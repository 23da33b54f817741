#!/usr/bin/env python3
"""Train the reference networks on Fashion-MNIST and make the bundles that ship with edgeexit.

Needs the extras `prepare` and `train`, and the images: apt-get install dataset-fashion-mnist. Both networks take
about half an hour on 2 cores that do nothing else.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import edgeexit.reference
from edgeexit.offline.export import export_onnx
from edgeexit.offline.fashion_mnist import DEFAULT_FOLDER, FashionMnist, load_fashion_mnist
from edgeexit.offline.reference import describe, make_reference_bundle, write_demo_images
from edgeexit.offline.reference_nets import REFERENCE_NETS
from edgeexit.offline.traces import save_traces
from edgeexit.offline.train import Recipe, train_network

SHIPPED = Path(edgeexit.reference.__file__).parent


def main() -> None:
    """Parse the arguments and make each network."""
    options = _parse()
    data = load_fashion_mnist(options.data)
    options.work.mkdir(parents=True, exist_ok=True)
    for name in REFERENCE_NETS if options.net == "all" else [options.net]:
        model = options.work / f"{name}.onnx"
        if not options.keep_models:
            _train(name, model, data, Recipe(epochs=options.epochs, seed=options.seed))
        bundle, traces = make_reference_bundle(model, options.out / name, data)
        save_traces(options.work / f"{name}-traces.npz", traces)
        print(describe(bundle, traces))
    write_demo_images(options.out / "fashion-images.npz", data)


def _train(name: str, model: Path, data: FashionMnist, recipe: Recipe) -> None:
    start = time.perf_counter()
    export_onnx(train_network(REFERENCE_NETS[name], data, recipe, label=name).net, model)
    print(f"{name}: trained in {time.perf_counter() - start:.0f} s")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=[*REFERENCE_NETS, "all"], default="all")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder of the bundles (default: where they ship)")
    parser.add_argument("--work", type=Path, default=Path("build/reference"), help="folder of models and traces")
    parser.add_argument("--keep-models", action="store_true", help="make bundles of the models in --work; train none")
    parser.add_argument("--epochs", type=int, default=Recipe().epochs)
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, help="folder of the idx.gz files")
    parser.add_argument("--seed", type=int, default=Recipe().seed)
    return parser.parse_args()


if __name__ == "__main__":
    main()
