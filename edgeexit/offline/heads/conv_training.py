"""Train heads with layers of their own on recorded maps with PyTorch (extra `train`); the network stands still.

A head learns from the labels, where there are some, and from the network's own logits (distillation, Hinton et al.,
arXiv 1503.02531). A quarter of the samples is held out: on it the epoch is chosen and the temperature fitted.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeexit.bundle.manifest import CLASSES
from edgeexit.offline.heads.conv_head import ConvHead, SeparableWeights, check_written, windows_of
from edgeexit.offline.heads.fitting import hold_out
from edgeexit.offline.heads.targets import Targets, read_targets
from edgeexit.offline.heads.temperature import cross_entropy, fit_sharpness
from edgeexit.offline.layers import ConvBn, SeparableConv, fold_batch_norm

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from edgeexit.offline.heads.conv_plan import ConvPlan, HeadRecipe
    from edgeexit.offline.heads.maps import RecordedMaps

    FloatArray = NDArray[np.float32]
    IntArray = NDArray[np.int64]


_CHECKED: Final = 64
"""Samples on which the written head is compared with the trained one."""
_SCALED_BY: Final = 1000
"""Samples by which channels are scaled."""
_FLATTEST: Final = 1e-3
"""As for linear heads: a channel that hardly ever changes is not blown up."""
_EVALUATED_FROM: Final = 0.3
"""Part of the epochs after which the samples held out are looked at: where the learning rate begins to fall."""


def train_conv_head(
    maps: RecordedMaps,
    targets: NDArray[Any],
    own_logits: FloatArray,
    plan: ConvPlan,
    recipe: HeadRecipe,
    *,
    task: str = CLASSES,
) -> ConvHead:
    """Train a head at one place.

    Args:
        maps: Of S samples; none of them may be used to choose exit rules.
        targets: (S,) the true classes; (S, C) which labels hold; or (S, C) the network's own probabilities.
        own_logits: (S, C) float32 of the network's own output.
        plan: Size of the head.
        recipe: How to train; without labels its `distillation` is 1.
        task: "classes", one of which is right, or "labels", each of which may hold.

    Raises:
        DataError: If targets do not fit.
        GraphError: If ONNX Runtime does not make of the written head what PyTorch does.
    """
    wanted = read_targets(targets, own_logits.shape[1], task)
    _, held = hold_out(wanted.groups, recipe.seed)
    learn = np.setdiff1d(np.arange(len(wanted)), held)
    scale = _scale_of(maps, learn)
    course = _Course(maps, wanted, own_logits, scale, recipe)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        net = _build(plan).to(memory_format=torch.channels_last)
        best = course.run(net, learn, held)
    head = _write(best, maps, plan, scale)
    few = held[:_CHECKED]
    expected = best.sharpness * course.scores(best.net, few)
    check_written(head, maps.take(few), expected.astype(np.float32))
    return head


@dataclass(frozen=True, slots=True)
class _Best:
    """The head of the epoch that was best on the samples held out, its sharpness and its loss there."""

    net: nn.Sequential
    sharpness: float
    loss: float


@dataclass(frozen=True, slots=True)
class _Course:
    """What a head is trained on, and how."""

    maps: RecordedMaps
    wanted: Targets
    own_logits: FloatArray
    scale: FloatArray
    recipe: HeadRecipe

    def run(self, net: nn.Sequential, learn: IntArray, held: IntArray) -> _Best:
        recipe, batches = self.recipe, max(1, len(learn) // self.recipe.batch_size)
        epochs = recipe.epochs(batches)
        optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.peak_rate, weight_decay=recipe.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, recipe.peak_rate, total_steps=epochs * batches, pct_start=0.25
        )
        best: _Best | None = None
        for epoch in range(epochs):
            net.train()
            for batch in self._batches(learn, batches, epoch):
                optimiser.zero_grad()
                self._loss(net, batch).backward()
                optimiser.step()
                schedule.step()
            if epoch >= _EVALUATED_FROM * epochs or epoch == epochs - 1:
                best = self._better(best, net, held)
        assert best is not None, "the last epoch is looked at"
        return best

    def scores(self, net: nn.Sequential, indices: IntArray) -> NDArray[np.float64]:
        """Return (S, C) what a head says of some samples."""
        net.eval()
        with torch.no_grad():
            parts = [net(self._read(part)) for part in np.array_split(indices, -(-len(indices) // 200))]
        return np.asarray(torch.cat(parts).numpy(), dtype=np.float64)

    def _batches(self, learn: IntArray, count: int, epoch: int) -> Iterator[IntArray]:
        order = np.random.default_rng((self.recipe.seed, epoch)).permutation(learn)
        size = self.recipe.batch_size
        return (np.sort(order[start : start + size]) for start in range(0, count * size, size))

    def _read(self, indices: IntArray) -> Tensor:
        maps = torch.from_numpy(self.maps.read(indices) * self.scale)
        return maps.contiguous(memory_format=torch.channels_last)

    def _loss(self, net: nn.Sequential, batch: IntArray) -> Tensor:
        share, logits = self.recipe.distillation, net(self._read(batch))
        teacher = torch.from_numpy(np.array(self.own_logits[batch]))
        loss = share * _distillation(logits, teacher, self.recipe.temperature, self.wanted.task)
        if share < 1.0:
            wanted = torch.from_numpy(self.wanted.wanted[batch].astype(np.float32))
            loss = loss + (1 - share) * _from_targets(logits, wanted, self.wanted.task)
        return loss

    def _better(self, best: _Best | None, net: nn.Sequential, held: IntArray) -> _Best:
        scores, answers = self.scores(net, held), self.wanted.take(held).hardened()
        sharpness = fit_sharpness(scores, answers)
        loss = cross_entropy(sharpness * scores, answers)
        return best if best is not None and best.loss <= loss else _Best(copy.deepcopy(net), sharpness, loss)


def _distillation(logits: Tensor, teacher: Tensor, temperature: float, task: str) -> Tensor:
    """Cross-entropy of softened outputs, with the factor T^2 of section 2.1 of Hinton et al."""
    if task == CLASSES:
        wanted = functional.softmax(teacher / temperature, dim=1)
        return functional.cross_entropy(logits / temperature, wanted) * temperature**2
    wanted = torch.sigmoid(teacher / temperature)
    return functional.binary_cross_entropy_with_logits(logits / temperature, wanted) * temperature**2


def _from_targets(logits: Tensor, wanted: Tensor, task: str) -> Tensor:
    if task == CLASSES:
        return functional.cross_entropy(logits, wanted)
    return functional.binary_cross_entropy_with_logits(logits, wanted)


def _build(plan: ConvPlan) -> nn.Sequential:
    channels, height, width = plan.pooling.shape
    parts: list[nn.Module] = []
    for outputs, stride in plan.layers:
        parts.append(SeparableConv(channels, outputs, stride=stride))
        channels, height, width = outputs, -(-height // stride), -(-width // stride)
    kernel, strides = windows_of(height, width)
    windows = [(size - k) // s + 1 for size, k, s in zip((height, width), kernel, strides, strict=True)]
    pool = nn.AvgPool2d((kernel[0], kernel[1]), (strides[0], strides[1]))
    return nn.Sequential(*parts, pool, nn.Flatten(), nn.Linear(channels * windows[0] * windows[1], plan.class_count))


def _scale_of(maps: RecordedMaps, learn: IntArray) -> FloatArray:
    """Return (1, C, 1, 1) by what channels are multiplied so that they spread by about 1."""
    seen = maps.read(learn[:: max(1, len(learn) // _SCALED_BY)])
    spread = seen.std(axis=(0, 2, 3), dtype=np.float64)
    average = float(np.sqrt(np.mean(spread**2))) or 1.0
    return np.asarray(1 / np.maximum(spread, _FLATTEST * average), dtype=np.float32).reshape(1, -1, 1, 1)


def _write(best: _Best, maps: RecordedMaps, plan: ConvPlan, scale: FloatArray) -> ConvHead:
    """Fold the scale into the first layer, batch normalisation into all, and the temperature into the last."""
    folded = fold_batch_norm(best.net)
    layers = [layer for layer in folded.children() if isinstance(layer, SeparableConv)]
    written = [_layer(layer, stride) for layer, (_, stride) in zip(layers, plan.layers, strict=True)]
    written[0] = replace(written[0], depthwise=written[0].depthwise * scale.reshape(-1, 1, 1, 1))
    (linear,) = (layer for layer in folded.children() if isinstance(layer, nn.Linear))
    weights, bias = _array(linear.weight).T * best.sharpness, _array(linear.bias) * best.sharpness
    return ConvHead(maps.pooling, tuple(written), weights.astype(np.float32), bias.astype(np.float32), best.loss)


def _layer(layer: SeparableConv, stride: int) -> SeparableWeights:
    each, mixed = (part.conv for part in layer.children() if isinstance(part, ConvBn))
    return SeparableWeights(_array(each.weight), _array(each.bias), _array(mixed.weight), _array(mixed.bias), stride)


def _array(tensor: Tensor | None) -> FloatArray:
    assert tensor is not None, "a folded convolution has a bias"
    return np.ascontiguousarray(tensor.detach().numpy(), dtype=np.float32)
