"""Training of the tiny encoder on generated clips: every clip of a batch against every caption, true or false."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from legs4d.language.encoders.tiny.model import TinyModel
from legs4d.language.encoders.tiny.words import known_words
from training.synthetic.schema import Claims
from training.synthetic.schema import truth as truth_of
from training.synthetic.words.captions import Captions, Habits, draw, drop_words, labels
from training.synthetic.words.phrases import make_bank
from training.tiny.group import ALONE, Group
from training.tiny.muon import Muon
from training.tiny.nets import Nets, inventory, standardise
from training.tiny.pool import Pool, Source

STATE, LOG, WEIGHTS = "state.pt", "log.jsonl", "tiny.safetensors"
"""In a training's folder: all that resuming needs, a line for every so many steps, the weights so far."""


AHEAD = 8
"""Batches of clips that are there when training begins."""

OUTERMOST = ("embedding", "position", "inventory", "text_projection", "project.", "convs.0.")
"""Parts of the names of matrices that are looked up, added or at an end, not between two layers."""


@dataclass(frozen=True)
class Settings:
    """Of a training; what is made from equal settings on one machine is equal, unless it is timed.

    Where several processes train together, `batch`, `pool` and what is made meanwhile are each one's.

    Attributes:
        seed: of weights, clips and captions.
        steps: to take; None goes by `minutes`.
        minutes: of training and generating, the schedule's whole length, without the first steps of a run, which
            compile; used where `steps` is None.
        batch: clips of a step.
        pool: clips that are kept to be drawn from.
        chunk: clips generated at a time.
        reuse: times that a clip is seen, on average.
        true, twisted: captions of each clip that are drawn to be true, and to be nearly so.
        rate: peak learning rate.
        warm_up: share of the schedule until it is reached.
        hold: share of the schedule after which it falls.
        decay: weight decay.
        ema: what the averaged weights keep at each step.
        unknown: share of words that are hidden.
        rows: phrases on each page of the bank.
        compiled: whether the nets are compiled.
        start: weights to begin with instead of random ones.
        progress: share of the schedule that `start` has behind it.
    """

    seed: int = 0
    steps: int | None = None
    minutes: float = 13.2
    batch: int = 2048
    pool: int = 1 << 16
    chunk: int = 8192
    reuse: float = 10.0
    true: int = 2
    twisted: int = 1
    rate: float = 2.5e-3
    warm_up: float = 0.04
    hold: float = 0.6
    decay: float = 0.05
    ema: float = 0.999
    unknown: float = 0.03
    rows: int = 96
    compiled: bool = False
    start: Path | None = None
    progress: float = 0.0


class Training:
    """A training and where it is.

    Args:
        settings: what to do.
        source: of clips, on `device`.
        device: to train on.
        folder: for its state, log and weights; one that holds a state is gone on with.
        group: the processes that train it.
    """

    LOG_EVERY, SAVE_EVERY = 50, 2000
    """Steps."""

    def __init__(
        self, settings: Settings, source: Source, device: torch.device, folder: Path, group: Group = ALONE
    ) -> None:
        self.settings, self.device, self.folder, self.group = settings, device, folder, group
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(settings.seed)
        self.words = known_words()
        self.model = TinyModel(self.words.count)
        if settings.start:
            self.model.load_state_dict(load_file(settings.start))
        names = list(self.model.state_dict())
        standardise(self.model)
        self.model.to(device)
        self.nets = Nets(self.model, settings.true, self.words.end).to(device)
        self.bank = make_bank(self.words, settings.seed, settings.rows).to(device)
        self.average = dict(zip(names, (value.clone() for value in self._weights(names)), strict=True))
        self.optimisers = self._optimisers()
        self.random = torch.Generator(device).manual_seed(settings.seed * group.size + group.rank)
        self.pool = Pool(source, settings.pool, settings.chunk, group.rank, group.size)
        self.step, self.seconds = 0, 0.0
        self._losses = torch.zeros(2, device=device)
        self._loss: Callable[..., Any] = torch.compile(self.nets, dynamic=False) if settings.compiled else self.nets
        self._labels = torch.compile(labels, dynamic=False) if settings.compiled else labels
        self._truth = torch.compile(truth_of, dynamic=False) if settings.compiled else truth_of
        self._inventory = Claims(**{name: value.to(device) for name, value in vars(inventory()).items()})
        if (folder / STATE).exists():
            self._load()

    @property
    def progress(self) -> float:
        """Of the schedule, 0..1."""
        settings = self.settings
        done = self.step / settings.steps if settings.steps else self.seconds / (60 * settings.minutes)
        return min(1.0, settings.progress + (1 - settings.progress) * done)

    def run(self, minutes: float | None = None, stop: Callable[[], bool] = lambda: False) -> None:
        """Train until the schedule's end, or for so many minutes, or until `stop`; then save.

        Progress is printed and logged. A group, whose processes have to do the same, asks `stop` when it logs.
        """
        first, before = self.step, self.seconds
        begun = logged_at = time.perf_counter()
        logged_step, told = self.step, False
        while self.progress < 1 and not told:
            self._take_step()
            if self.step % self.LOG_EVERY == 0:
                self.group.average([self._losses])
                losses = (self._losses / self.LOG_EVERY).tolist()  # waits for the device
                self._losses.zero_()
                now = time.perf_counter()
                if logged_step == first and self.settings.compiled:
                    begun = now  # until here it compiled
                elapsed = self._together(now - begun)
                self.seconds = before + elapsed
                self._log(losses, (self.step - logged_step) / (now - logged_at))
                if self.step % self.SAVE_EVERY == 0:
                    self.save()
                logged_step, logged_at = self.step, now
                told = any(flag.item() for flag in self.group.gather(torch.tensor(stop(), device=self.device)))
                told |= minutes is not None and elapsed > 60 * minutes
            elif self.group.size == 1:
                told = stop()
        self.seconds = before + self._together(time.perf_counter() - begun)
        self.save()

    def _together(self, number: float) -> float:
        """As the first process has it."""
        return self.group.same(torch.tensor(number, device=self.device, dtype=torch.float64)).item()

    def _take_step(self) -> None:
        settings = self.settings
        seen = (self.step + 1) * settings.batch
        # Some batches ahead: the first would otherwise be the same few clips again and again.
        wanted = math.ceil((seen / settings.reuse + AHEAD * settings.batch) / settings.chunk)
        while self.pool.made < wanted:
            self.pool.add()
        clips = self.pool.draw(settings.batch, self.random)
        captions = self._captions(clips.facts)
        tokens = drop_words(captions.tokens, settings.unknown, self.words, self.random)
        truth = self._labels(clips.facts, captions)
        there = self._truth(clips.facts, self._inventory)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["rate"] * self._rate()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            loss, choice = self._loss(clips.frames, tokens, truth, there)
        self.nets.zero_grad(set_to_none=True)
        loss.backward()
        self.group.average([value.grad for value in self.nets.parameters() if value.grad is not None])
        nn.utils.clip_grad_norm_(self.nets.parameters(), 1.0)
        for optimiser in self.optimisers:
            optimiser.step()
        self._losses += torch.stack([loss.detach(), choice])
        self._average()
        self.step += 1

    def _captions(self, facts: Any) -> Captions:
        return draw(self.bank, facts, Habits(), self.random, self.settings.true, self.settings.twisted)

    def _rate(self) -> float:
        """Of the peak: after a warm-up, which weights to start with need too, as the optimiser begins anew, it is held;
        then it falls as a cosine does. While it is held the loss falls in proportion to it, far from any floor."""
        settings, progress = self.settings, self.progress
        warm = min(1.0, (progress - settings.progress) / (settings.warm_up * (1 - settings.progress)) + 1e-3)
        falling = max(0.0, progress - settings.hold) / (1 - settings.hold)
        return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * falling)))

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(self.settings.ema, self.step / (self.step + 10))
        torch._foreach_lerp_(list(self.average.values()), self._weights(self.average), 1 - keep)

    @torch.no_grad()
    def _weights(self, names: Iterable[str]) -> list[Tensor]:
        """As the package has them, under these names."""
        return [attrgetter(name)(self.model).detach() for name in names]

    def _optimisers(self) -> list[torch.optim.Optimizer]:
        """AdamW, and for matrices between layers Muon."""
        rate, decay = self.settings.rate, self.settings.decay
        named = dict(self.nets.named_parameters())
        scalars = ("model.logit_scale", "model.logit_bias")
        hidden = [
            name for name, value in named.items() if value.ndim > 1 and not any(part in name for part in OUTERMOST)
        ]
        products = [name for name, value in named.items() if value.ndim > 1 and name not in hidden]
        biases = [name for name, value in named.items() if value.ndim < 2 and name not in scalars]

        def group(names: Iterable[str], rate: float, decay: float) -> dict[str, Any]:
            return {"params": [named[name] for name in names], "rate": rate, "weight_decay": decay}

        adam = torch.optim.AdamW(
            # The scalars are of the order of 10, where others are 0.1.
            [group(products, rate, decay), group(biases, rate, 0.0), group(scalars, 10 * rate, 0.0)],
            fused=self.device.type == "cuda",
            betas=(0.9, 0.98),
        )
        return [adam, Muon([group(hidden, rate, decay)])]

    def _log(self, losses: list[float], rate: float) -> None:
        if self.group.rank:
            return
        row = {
            "step": self.step,
            "loss": losses[0],
            "choice": losses[1],
            "seconds": round(self.seconds, 1),
            "steps_per_second": round(rate, 2),
            "clips_made": self.pool.made * self.pool.chunk * self.group.size,
            "scale": self.model.logit_scale.item(),
            "bias": self.model.logit_bias.item(),
            "sharpness": self.nets.sharpness.exp().item(),
        }
        with (self.folder / LOG).open("a") as log:
            log.write(json.dumps(row) + "\n")
        if self.step % (10 * self.LOG_EVERY) == 0:
            print(f"{100 * self.progress:3.0f} %, " + ", ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)

    def save(self) -> None:
        """State and weights; each appears complete or not at all."""
        random = [state.cpu() for state in self.group.gather(self.random.get_state().to(self.device))]
        if self.group.rank:
            return
        state = {
            "settings": json.dumps(asdict(self.settings), default=str),
            "nets": self.nets.state_dict(),
            "average": self.average,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "random": random,
            "made": self.pool.made,
            "step": self.step,
            "seconds": self.seconds,
            "losses": self._losses,
        }
        _replace(self.folder / STATE, lambda path: torch.save(state, path))
        half = {name: value.half().contiguous() for name, value in self.average.items()}
        _replace(self.folder / WEIGHTS, lambda path: save_file(half, path))

    def _load(self) -> None:
        state = torch.load(self.folder / STATE, map_location="cpu", weights_only=True)
        if state["settings"] != json.dumps(asdict(self.settings), default=str):
            raise SystemExit(f"{self.folder} holds a training with other settings: {state['settings']}")
        if len(state["random"]) != self.group.size:
            raise SystemExit(
                f"{self.folder} holds a training by {len(state['random'])} processes, not {self.group.size}"
            )
        self.nets.load_state_dict(state["nets"])
        self.average = {name: value.to(self.device) for name, value in state["average"].items()}
        for optimiser, told in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(told)
        self.random.set_state(state["random"][self.group.rank])
        self.pool.refill(state["made"])
        self.step, self.seconds = state["step"], state["seconds"]
        self._losses = state["losses"].to(self.device)


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    partly = path.with_name(path.name + ".part")
    write(partly)
    os.replace(partly, path)
