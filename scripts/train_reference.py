#!/usr/bin/env python3
"""Train the reference networks on Fashion-MNIST and make the bundles that ship with edgeexit.

Each network is first trained without exits, as a user's would be: that is what one with exits must not fall behind, and
together they teach the early exits. Needs the extras `prepare` and `train`, and the images: apt-get install
dataset-fashion-mnist. All takes one and a half hours on 2 cores that do nothing else; what is in --work is not trained
again, and a run that was broken off goes on after its last whole epoch.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import torch

import edgeexit.reference
from edgeexit.offline.export import export_onnx
from edgeexit.offline.fashion_mnist import DEFAULT_FOLDER, FashionMnist, load_fashion_mnist
from edgeexit.offline.reference import describe, make_reference_bundle, write_demo_images
from edgeexit.offline.reference_nets import REFERENCE_NETS, MultiExitNet
from edgeexit.offline.traces import save_traces
from edgeexit.offline.train import Recipe, accuracies_of, train_network

SHIPPED = Path(edgeexit.reference.__file__).parent
HELD = frozenset({"fashion-vgg"})
"""Networks whose layers stay as they were trained alone: only their exits learn, as those of a user's network would."""
EPOCHS_OF_EXITS = 40
"""Of the training of exits on a network that is held."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """Trains networks, each of them once."""

    folder: Path
    data: FashionMnist
    recipe: Recipe
    recipe_of_exits: Recipe

    def alone(self, name: str, width: float = 1.0) -> MultiExitNet:
        """Return the network `name` of that width, trained without exits."""
        stem = f"{name}-alone" if width == 1.0 else f"{name}-alone-{width:g}"
        return self._trained(stem, partial(REFERENCE_NETS[name], exits=False, width=width), [])

    def with_exits(self, name: str) -> Path:
        """Return the ONNX file of the network `name` with exits, taught by both networks without."""
        teachers = {each: self.alone(each) for each in REFERENCE_NETS}
        held = teachers[name] if name in HELD else None
        self._trained(name, REFERENCE_NETS[name], [*teachers.values()], held=held)
        return self.folder / f"{name}.onnx"

    def _trained(
        self,
        stem: str,
        build: Callable[[], MultiExitNet],
        teachers: list[MultiExitNet],
        held: MultiExitNet | None = None,
    ) -> MultiExitNet:
        weights = self.folder / f"{stem}.pt"
        if weights.is_file():
            net = build()
            net.load_state_dict(torch.load(weights, weights_only=True))
        else:
            checkpoint = self.folder / f"{stem}.checkpoint"
            recipe = self.recipe if held is None else self.recipe_of_exits
            net = train_network(
                build, self.data, recipe, teachers=teachers, label=stem, checkpoint=checkpoint, alone=held
            )
            unfinished = weights.with_name(weights.name + ".part")
            torch.save(net.state_dict(), unfinished)
            unfinished.replace(weights)
            tested = " ".join(f"{accuracy:.2%}" for accuracy in accuracies_of(net, self.data.test))
            print(f"{stem}: test {tested}", flush=True)
        if not (self.folder / f"{stem}.onnx").is_file():
            export_onnx(net, self.folder / f"{stem}.onnx")
        net.eval()
        return net


def main() -> None:
    """Parse the arguments and make each network."""
    options = _parse()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options.work.mkdir(parents=True, exist_ok=True)
    data = load_fashion_mnist(options.data)
    recipe = Recipe(epochs=options.epochs or Recipe().epochs, seed=options.seed)
    workshop = Workshop(options.work, data, recipe, replace(recipe, epochs=options.epochs or EPOCHS_OF_EXITS))
    names = list(REFERENCE_NETS) if options.net == "all" else [options.net]
    if options.alone:
        for name, width in product(names, options.alone):
            workshop.alone(name, width)
        return
    for name in names:
        bundle, traces = make_reference_bundle(workshop.with_exits(name), options.out / name, data)
        save_traces(options.work / f"{name}-traces.npz", traces)
        print(describe(bundle, traces))
    write_demo_images(options.out / "fashion-images.npz", data)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", choices=[*REFERENCE_NETS, "all"], default="all")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="folder of the bundles (default: where they ship)")
    parser.add_argument("--work", type=Path, default=Path("build/reference"), help="folder of models and traces")
    parser.add_argument(
        "--alone",
        type=float,
        nargs="+",
        metavar="WIDTH",
        help="only train networks without exits, of these factors of their channels, to compare with",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        help=f"default: {Recipe().epochs}, and {EPOCHS_OF_EXITS} where exits are trained on a network that is held",
    )
    parser.add_argument("--data", type=Path, default=DEFAULT_FOLDER, help="folder of the idx.gz files")
    parser.add_argument("--seed", type=int, default=Recipe().seed)
    return parser.parse_args()


if __name__ == "__main__":
    main()
