"""Train a network without exits, or one with exits under teachers.

All exits of a network are trained together. The last one learns from the labels, as it would without exits; each early
one learns from the labels and from teachers (distillation, Hinton et al., arXiv 1503.02531): networks without exits
that were trained before, whose logits are averaged. Training is watched on the `select` images; the test images have no
part in it and are only reported.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from edgeexit.offline.fashion_mnist import FashionMnist, LabelledImages, as_input
from edgeexit.offline.layers import fold_batch_norm
from edgeexit.offline.reference_nets import MultiExitNet
from edgeexit.offline.traces import Trace

_log = logging.getLogger(__name__)

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
        distillation: Share of an early exit's loss that comes from the teachers, the rest from labels.
        temperature: Softens both distributions of the distillation.
        largest_shift: Augmentation moves an image by up to this many pixels each way.
        seed: Of the first weights, the order of the images and the augmentation.
    """

    epochs: int = 30
    batch_size: int = 128
    peak_rate: float = 4e-3
    weight_decay: float = 0.02
    early_weight: float = 1.0
    distillation: float = 0.6
    temperature: float = 2.0
    largest_shift: int = 2
    seed: int = 0


def train_network(
    build: Callable[[], MultiExitNet],
    data: FashionMnist,
    recipe: Recipe,
    *,
    teachers: Sequence[MultiExitNet] = (),
    label: str = "",
    checkpoint: Path | None = None,
    alone: MultiExitNet | None = None,
) -> MultiExitNet:
    """Train all exits of a new network together, or those of a trained one.

    Args:
        build: Makes the network with random weights.
        data: `train` is learned from, `select` is only evaluated.
        recipe: How to train.
        teachers: Trained networks whose last exits teach the early exits; without any, the network's own last exit
            does (self-distillation, Phuong and Lampert, ICCV 2019), detached so that it never bends towards them.
        label: Stands before the progress bar.
        checkpoint: File that is written after every epoch and removed at the end. A run that was broken off goes on
            from it; it must be one of the same recipe.
        alone: The same network, trained without exits. Its layers are taken over and stay as they are; only the early
            exits and what belongs to them learn.

    Returns:
        The network in evaluation mode.
    """
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        net = build().to(memory_format=torch.channels_last)
    if alone is not None:
        net.take_over(alone)
    course = _Course(net, len(data.train), recipe)
    first = course.resume(checkpoint) if checkpoint is not None and checkpoint.is_file() else 0
    teach = _teaching(teachers)
    steps = len(data.train) // recipe.batch_size
    with tqdm(total=steps * recipe.epochs, initial=steps * first, desc=label, unit="step", mininterval=1.0) as progress:
        for epoch in range(first, recipe.epochs):
            start = time.perf_counter()
            net.train()
            if alone is not None:
                net.hold_backbone()
            for image, labels in _batches(data.train, recipe, course.random):
                logits = net(image)
                course.step(multi_exit_loss(logits, labels, recipe, teacher=teach(image, logits[-1])))
                progress.update()
            accuracies = " ".join(f"{accuracy:.4f}" for accuracy in accuracies_of(net, data.select))
            _log.info("%s, epoch %d: select %s, %.0f s", label, epoch, accuracies, time.perf_counter() - start)
            if checkpoint is not None:
                course.keep(checkpoint, epoch)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return net.eval()


class _Course:
    """Everything that training changes: weights, optimiser, schedule and random numbers."""

    def __init__(self, net: MultiExitNet, samples: int, recipe: Recipe) -> None:
        steps = recipe.epochs * (samples // recipe.batch_size)
        self.net = net
        learning = [weight for weight in net.parameters() if weight.requires_grad]
        self.optimiser = torch.optim.AdamW(learning, lr=recipe.peak_rate, weight_decay=recipe.weight_decay)
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, recipe.peak_rate, total_steps=steps, pct_start=0.25
        )
        self.random = torch.Generator().manual_seed(recipe.seed)

    def step(self, loss: Tensor) -> None:
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.schedule.step()

    def keep(self, path: Path, epoch: int) -> None:
        state: dict[str, Any] = {
            "epoch": epoch,
            "net": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "random": self.random.get_state(),
        }
        unfinished = path.with_name(path.name + ".part")
        torch.save(state, unfinished)
        unfinished.replace(path)

    def resume(self, path: Path) -> int:
        """Take over what `keep` wrote; return the epoch to go on with."""
        state = torch.load(path, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.random.set_state(state["random"])
        return int(state["epoch"]) + 1


def _teaching(teachers: Sequence[MultiExitNet]) -> Callable[[Tensor, Tensor], Tensor]:
    """Return what gives the logits to learn from, given the images and the network's own last logits."""
    folded = [fold_batch_norm(teacher).to(memory_format=torch.channels_last) for teacher in teachers]

    def teach(image: Tensor, own: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.stack([net(image)[-1] for net in folded]).mean(dim=0) if folded else own.detach()

    return teach


def multi_exit_loss(logits: Sequence[Tensor], label: Tensor, recipe: Recipe, *, teacher: Tensor) -> Tensor:
    """Weigh the losses of all exits.

    The last exit weighs 1 and the early ones share `recipe.early_weight` equally, so that each of
    them pulls the common features far less than the last one does. Their own layers learn no slower
    for it, as Adam does not see the scale of a loss.

    Args:
        logits: One (N, 10) per exit, the network's own last.
        label: (N,) int64.
        recipe: Gives the weights.
        teacher: (N, 10) logits that early exits learn from.

    Returns:
        A scalar.
    """
    *early, last = logits
    loss = functional.cross_entropy(last, label)
    softened = functional.log_softmax(teacher / recipe.temperature, dim=1)
    for exit_logits in early:
        from_label = functional.cross_entropy(exit_logits, label)
        from_teacher = _divergence(exit_logits, softened, recipe.temperature)
        mixed = (1 - recipe.distillation) * from_label + recipe.distillation * from_teacher
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
def accuracies_of(net: MultiExitNet, part: LabelledImages) -> tuple[float, ...]:
    """Return the accuracy of each exit on `part`."""
    net.eval()
    pixels = torch.from_numpy(as_input(part.images))
    logits = torch.cat([torch.stack(net(batch), dim=1) for batch in torch.split(pixels, _EVALUATION_BATCH)])
    return tuple(Trace(logits.numpy(), part.labels.astype(np.int64)).accuracies.tolist())
