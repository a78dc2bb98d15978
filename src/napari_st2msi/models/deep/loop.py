"""The loop in which all networks are trained, on lightning-fabric."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from napari_st2msi.errors import FileProblem, ModelProblem
from napari_st2msi.features.arrays import part
from napari_st2msi.models.deep import checkpoint as files
from napari_st2msi.models.deep.device import Device, Precision, fabric, found, threads
from napari_st2msi.progress import Cancelled, Progress, never

#: From the network, the data and the rows of a minibatch to one number, the mean over the minibatch.
Loss = Callable[[Any, Mapping[str, torch.Tensor], torch.Tensor], torch.Tensor]

#: Why a training ended: all epochs done, no improvement for long, or the user.
Stopped = Literal["finished", "early", "cancelled"]


@dataclass(frozen=True)
class Schedule:
    """How a network is trained.

    Attributes
    ----------
    epochs
        How many at most.
    patience
        Stop after so many epochs without a lower validation loss.
    batch
        Spots in a minibatch.
    learning_rate
        The highest; it rises over the first `warm_up` epochs and falls along a cosine to a hundredth
        (Loshchilov and Hutter 2017, arXiv:1608.03983).
    weight_decay
        Decoupled, of AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101).
    clip
        The largest norm of the gradient.
    seed
        Of the order of spots and of what the network draws, such as dropout.
    device, precision, devices
        See `napari_st2msi.models.deep.device`.
    threads
        On the CPU; None for as many as torch takes. Threads that wait for each other at every small
        product bring nothing: on two busy cores one thread was four times faster than two.
    """

    epochs: int = 100
    patience: int = 15
    batch: int = 128
    learning_rate: float = 1e-3
    warm_up: int = 3
    weight_decay: float = 1e-2
    clip: float = 1.0
    seed: int = 0
    device: Device = "auto"
    precision: Precision = "full"
    devices: int = 1
    threads: int | None = None

    def rate(self, epoch: float) -> float:
        """Return the learning rate at an epoch, parts of one included."""
        warm = min((epoch + 1) / max(self.warm_up, 1), 1.0)
        fall = 0.5 * (1 + math.cos(math.pi * min(epoch / max(self.epochs, 1), 1.0)))
        return self.learning_rate * warm * (0.01 + 0.99 * fall)


@dataclass(frozen=True)
class Epoch:
    """A point of the curves.

    Attributes
    ----------
    number
        From 1.
    training, validation
        Mean loss over the epoch's minibatches, and of the spots kept for validation.
    rate
        Learning rate at its end.
    seconds
        How long it took.
    """

    number: int
    training: float
    validation: float
    rate: float
    seconds: float


@dataclass(frozen=True, eq=False)
class Trained:
    """A network as it was after its best epoch.

    Attributes
    ----------
    network
        On the CPU, in evaluation mode.
    epochs
        The curves.
    best
        Number of the best epoch.
    stopped
        Why it ended: all epochs done, no improvement for long, or the user stopped it.
    device
        What it was trained on.
    """

    network: Any
    epochs: tuple[Epoch, ...]
    best: int
    stopped: Stopped
    device: str


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Draw torch's random numbers from a seed, and give its generator back as it was."""
    seed = int(np.random.default_rng(numbers).integers(2**63 - 1))
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def train(
    network: Any,
    data: Mapping[str, torch.Tensor],
    loss: Loss,
    fit: NDArray[np.integer],
    held: NDArray[np.integer],
    schedule: Schedule = Schedule(),
    *,
    checkpoints: Path | None = None,
    told: Callable[[Epoch], None] | None = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Trained:
    """Train a network and return it as it was after the epoch with the lowest validation loss.

    On the CPU the same call gives the same weights, also when it was broken off and went on from its
    checkpoint, on the same computer with the same number of threads.

    Parameters
    ----------
    network
        A `torch.nn.Module`, initialised; it is trained in place.
    data
        Tensors that `loss` needs; they are moved to the device once.
    loss
        See `Loss`.
    fit, held
        Rows to learn from, and rows to stop by: blocks of tissue, with a buffer between.
    checkpoints
        Folder to keep a checkpoint in after every epoch, under a name made from data, settings and start of
        this training. If it is there already, training goes on from it.
    told
        Called after every epoch.

    Raises
    ------
    ModelProblem
        There are no spots, the device is not there, or the loss is not a number.
    FileProblem
        The checkpoint cannot be read or written, or belongs to another training.
    Cancelled
        The user stopped before the end of the first epoch. Later, the best epoch is returned.
    """
    if not len(fit) or not len(held):
        raise ModelProblem("A network needs spots to learn from and others to stop by. Choose more tissue.")
    with threads(schedule.threads):
        run = _Run(network, data, loss, np.asarray(fit), np.asarray(held), schedule)
        return _until_over(run, checkpoints, told, progress, cancelled)


def _until_over(
    run: _Run,
    folder: Path | None,
    told: Callable[[Epoch], None] | None,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Trained:
    mark, schedule = "", run.schedule
    checkpoint: Path | None = None
    if folder is not None:
        mark = run.fingerprint()
        checkpoint = folder / f"network-{mark[:16]}.safetensors"
        if checkpoint.exists():
            run.resume(checkpoint, mark)
            progress(len(run.epochs) / schedule.epochs, "going on from the checkpoint")
    stopped: Stopped | None
    while (stopped := run.over()) is None:
        epoch = run.epoch(cancelled)
        if epoch is None:
            if not run.epochs:
                raise Cancelled("Stopped. Nothing was changed.")
            stopped = "cancelled"
            break
        if checkpoint is not None:
            run.keep(checkpoint, mark)
        progress(epoch.number / schedule.epochs, f"epoch {epoch.number}, loss {epoch.validation:.3f}")
        if told is not None:
            told(epoch)
    run.plain.load_state_dict(run.best_weights)
    return Trained(run.plain.cpu().eval(), tuple(run.epochs), run.best, stopped, run.fabric.device.type)


class _Run:
    """A training under way: all that changes from epoch to epoch."""

    def __init__(
        self,
        network: Any,
        data: Mapping[str, torch.Tensor],
        loss: Loss,
        fit: NDArray[np.integer],
        held: NDArray[np.integer],
        schedule: Schedule,
    ) -> None:
        self.fabric = fabric(schedule.device, schedule.precision, schedule.devices)
        self.loss, self.fit, self.schedule = loss, fit, schedule
        optimiser = _optimiser(network, schedule)
        self.plain = network
        self.network, self.optimiser = self.fabric.setup(network, optimiser)
        self.data = {name: self.fabric.to_device(tensor) for name, tensor in data.items()}
        self.held = torch.from_numpy(held).to(self.fabric.device)
        self.epochs: list[Epoch] = []
        self.best_weights: dict[str, torch.Tensor] = {}

    @property
    def best(self) -> int:
        return 1 + min(range(len(self.epochs)), key=lambda index: self.epochs[index].validation)

    def over(self) -> Literal["finished", "early"] | None:
        done = len(self.epochs)
        if done >= self.schedule.epochs:
            return "finished"
        return "early" if done and done - self.best >= self.schedule.patience else None

    def epoch(self, cancelled: Callable[[], bool]) -> Epoch | None:
        """Return what one more epoch brought, or None if the user stopped it."""
        since, number, schedule = time.perf_counter(), len(self.epochs), self.schedule
        order = np.random.default_rng([schedule.seed, number]).permutation(len(self.fit))
        batches = np.array_split(self.fit[order], max(1, round(len(order) / schedule.batch)))
        total = torch.zeros((), device=self.fabric.device)
        self.network.train()
        with seeded(schedule.seed, number):
            for step, rows in enumerate(batches):
                if cancelled():
                    return None
                for group in self.optimiser.param_groups:
                    group["lr"] = schedule.rate(number + step / len(batches))
                self.optimiser.zero_grad()
                loss = self.loss(self.network, self.data, torch.from_numpy(rows).to(self.fabric.device))
                self.fabric.backward(loss)
                self.fabric.clip_gradients(
                    self.network, self.optimiser, max_norm=schedule.clip, error_if_nonfinite=False
                )
                self.optimiser.step()
                total += loss.detach() * len(rows)
        training, validation = float(total) / len(self.fit), self._judge(cancelled)
        if validation is None:
            return None
        if not (math.isfinite(training) and math.isfinite(validation)):
            raise ModelProblem(
                f"The loss is no longer a number in epoch {number + 1}. Choose a lower learning rate, "
                "'full' precision, or standardised genes."
            )
        done = Epoch(
            number + 1,
            training,
            validation,
            schedule.rate(number + 1 - 1 / len(batches)),
            time.perf_counter() - since,
        )
        self.epochs.append(done)
        if self.best == done.number:
            self.best_weights = {
                name: value.detach().to("cpu", copy=True) for name, value in self.plain.state_dict().items()
            }
        return done

    def _judge(self, cancelled: Callable[[], bool]) -> float | None:
        self.network.eval()
        total = torch.zeros((), device=self.fabric.device)
        with torch.no_grad():
            for rows in torch.split(self.held, 4 * self.schedule.batch):
                if cancelled():
                    return None
                total += self.loss(self.network, self.data, rows) * len(rows)
        return float(total) / len(self.held)

    def fingerprint(self) -> str:
        """Return a mark of a training: its settings, its start and its data."""
        settings = asdict(replace(self.schedule, device="cpu", devices=1))  # it may go on elsewhere
        digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        pieces = {**self.plain.state_dict(), **self.data, "fit": torch.as_tensor(self.fit), "held": self.held}
        for name, tensor in pieces.items():
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def keep(self, path: Path, mark: str) -> None:
        facts = {"training": mark, "epochs": [asdict(epoch) for epoch in self.epochs]}
        tensors = files.tensors_of(self.plain.state_dict(), self.best_weights, self.optimiser.state_dict())
        files.write_checkpoint(path, facts, tensors)

    def resume(self, path: Path, mark: str) -> None:
        facts, tensors = files.read_checkpoint(path)
        if facts.get("training") != mark:
            raise FileProblem(
                f"The checkpoint '{path}' belongs to another training: other data, settings or network. "
                "Delete it or choose another place."
            )
        try:
            self.plain.load_state_dict(part("network", tensors))
            groups = self.optimiser.state_dict()["param_groups"]
            self.optimiser.load_state_dict(files.optimiser_state(tensors, groups))
            self.epochs = [Epoch(**epoch) for epoch in facts["epochs"]]
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise FileProblem(f"The checkpoint '{path}' is damaged: {error}. Delete it to start anew.") from error
        self.best_weights = part("best", tensors)


def _optimiser(network: Any, schedule: Schedule) -> torch.optim.Optimizer:
    choose = partial(
        torch.optim.AdamW, network.parameters(), lr=schedule.learning_rate, weight_decay=schedule.weight_decay
    )
    if found(schedule.device) != "cpu":
        return choose()
    try:  # all weights in one pass: of small networks each step takes half the time
        return choose(fused=True)
    except RuntimeError:  # torch before 2.4 has it for GPUs only
        return choose()
