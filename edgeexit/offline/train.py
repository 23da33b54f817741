"""Train a multi-exit network.

All exits are trained together: each early exit learns from the labels and from
the last exit (self-distillation, Phuong and Lampert, ICCV 2019), whose answers
are detached so that it never bends towards the weaker exits. Training is watched
on the `select` images; the test images have no part in it and are only reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from edgeexit.offline.fashion_mnist import FashionMnist, LabelledImages, as_input
from edgeexit.offline.reference_nets import MultiExitNet
from edgeexit.offline.traces import Trace

_EVALUATION_BATCH: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train; to compare recipes, look at `select` and never at `test`.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images a step.
        peak_rate: Highest learning rate of the one-cycle schedule.
        weight_decay: Of AdamW.
        early_weight: What the losses of all early exits weigh together; the last exit weighs 1.
        distillation: Share of an early exit's loss that comes from the last exit, the rest from labels.
        temperature: Softens both distributions of the distillation.
        largest_shift: Augmentation moves an image by up to this many pixels each way.
        seed: Of the first weights, the order of the images and the augmentation.
    """

    epochs: int = 16
    batch_size: int = 128
    peak_rate: float = 4e-3
    weight_decay: float = 0.02
    early_weight: float = 1.0
    distillation: float = 0.5
    temperature: float = 2.0
    largest_shift: int = 2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch gave.

    Attributes:
        train_loss: Mean of the weighted loss over its steps.
        select_accuracy: Of each exit, on the `select` images.
        duration_s: Wall time, evaluation included.
    """

    train_loss: float
    select_accuracy: tuple[float, ...]
    duration_s: float


@dataclass(frozen=True, slots=True)
class TrainedNet:
    """A network in evaluation mode and how it got there."""

    net: MultiExitNet
    history: tuple[EpochRecord, ...]


def train_network(
    build: Callable[[], MultiExitNet], data: FashionMnist, recipe: Recipe, *, label: str = ""
) -> TrainedNet:
    """Train all exits of a new network together.

    Args:
        build: Makes the network with random weights.
        data: `train` is learned from, `select` is only evaluated.
        recipe: How to train.
        label: Stands before the progress bar.
    """
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        net = build().to(memory_format=torch.channels_last)
    steps = recipe.epochs * (len(data.train) // recipe.batch_size)
    with tqdm(total=steps, desc=label, unit="step", mininterval=1.0) as progress:
        history = tuple(_epochs(net, data, recipe, progress))
    return TrainedNet(net.eval(), history)


def _epochs(net: MultiExitNet, data: FashionMnist, recipe: Recipe, progress: tqdm[None]) -> Iterator[EpochRecord]:
    optimiser = torch.optim.AdamW(net.parameters(), lr=recipe.peak_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, recipe.peak_rate, total_steps=progress.total, pct_start=0.25
    )
    random = torch.Generator().manual_seed(recipe.seed)
    for _ in range(recipe.epochs):
        start = time.perf_counter()
        losses = []
        net.train()
        for image, label in _batches(data.train, recipe, random):
            loss = multi_exit_loss(net(image), label, recipe)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
            progress.update()
        accuracy = _accuracies(net, data.select)
        progress.set_postfix(loss=f"{np.mean(losses):.3f}", select=f"{accuracy[-1]:.4f}")
        yield EpochRecord(float(np.mean(losses)), accuracy, time.perf_counter() - start)


def multi_exit_loss(logits: tuple[Tensor, ...], label: Tensor, recipe: Recipe) -> Tensor:
    """Weigh the losses of all exits.

    The last exit weighs 1 and the early ones share `recipe.early_weight` equally, so that each of
    them pulls the common features far less than the last one does. Their own layers learn no slower
    for it, as Adam does not see the scale of a loss.

    Args:
        logits: One (N, 10) per exit, the network's own last.
        label: (N,) int64.
        recipe: Gives the weights.

    Returns:
        A scalar.
    """
    *early, last = logits
    loss = functional.cross_entropy(last, label)
    softened = functional.log_softmax(last.detach() / recipe.temperature, dim=1)
    for exit_logits in early:
        from_label = functional.cross_entropy(exit_logits, label)
        from_last = _divergence(exit_logits, softened, recipe.temperature)
        mixed = (1 - recipe.distillation) * from_label + recipe.distillation * from_last
        loss = loss + recipe.early_weight / len(early) * mixed
    return loss


def _divergence(logits: Tensor, softened: Tensor, temperature: float) -> Tensor:
    """Distillation loss of Hinton et al. (arXiv 1503.02531), with the factor T^2 of its section 2.1."""
    student = functional.log_softmax(logits / temperature, dim=1)
    divergence = functional.kl_div(student, softened, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def _batches(part: LabelledImages, recipe: Recipe, random: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    images = torch.tensor(part.images)
    labels = torch.tensor(part.labels, dtype=torch.int64)
    order = torch.randperm(len(part), generator=random)
    whole = len(part) // recipe.batch_size * recipe.batch_size
    for batch in torch.split(order[:whole], recipe.batch_size):
        pixels = augment(images[batch], recipe.largest_shift, random)
        yield pixels.unsqueeze(1).to(torch.float32) / 255, labels[batch]


def augment(images: Tensor, largest_shift: int, random: torch.Generator) -> Tensor:
    """Shift each image by up to `largest_shift` pixels each way and mirror every other one.

    Args:
        images: (N, H, W) uint8.
        largest_shift: In pixels; what moves in is background (0).
        random: Decides, image by image.

    Returns:
        (N, H, W) uint8.
    """
    count, height, width = images.shape
    padded = functional.pad(images, (largest_shift,) * 4)
    corner = torch.randint(0, 2 * largest_shift + 1, (2, count, 1), generator=random)
    rows = corner[0] + torch.arange(height)
    columns = corner[1] + torch.arange(width)
    mirrored = torch.rand(count, 1, generator=random) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    return padded[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


@torch.no_grad()
def _accuracies(net: MultiExitNet, part: LabelledImages) -> tuple[float, ...]:
    net.eval()
    pixels = torch.from_numpy(as_input(part.images))
    logits = torch.cat([torch.stack(net(batch), dim=1) for batch in torch.split(pixels, _EVALUATION_BATCH)])
    return tuple(Trace(logits.numpy(), part.labels.astype(np.int64)).accuracies.tolist())
