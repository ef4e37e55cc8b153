"""Training of `tiny4d` on clips that are made meanwhile: rendered pictures and alpha against true ones."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from legs4d.generate.onepass.network import TINY4D, OnePass, Variant
from training.tiny.group import ALONE, Group
from training.tiny.muon import Muon
from training.tiny4d.filming import Filmed, Studio
from training.tiny4d.step import Judge, Weights, measure, show

STATE, LOG, MEASURED, WEIGHTS = "state.pt", "log.jsonl", "held_out.jsonl", "tiny4d.safetensors"
"""In a training's folder: all that resuming needs; a line for every so many steps, and one for every measurement; the
averaged weights in half precision, as the package has them."""
HELD_OUT_SEED = 77
"""Of clips that training never sees; a training's own seed is another."""


@dataclass(frozen=True)
class Settings:
    """Of a training; what is made from equal settings on one machine is equal, unless it is timed.

    Where several processes train together, `clips`, `pool` and what is made meanwhile are each one's.

    Attributes:
        seed: of weights, clips and what is drawn.
        steps: to take; None goes by `minutes`.
        minutes: the schedule's whole length, used where `steps` is None.
        clips: of a step, of four moments each.
        judged: cameras beside the first one that a step's splats are compared from.
        pool: clips that are kept to be drawn from; chunk: made at a time, `pool` is a multiple of it.
        stock: clips that are made before the first step, as many as the pool holds at most.
        reuse: times that a clip is seen, on average, of those that are made later.
        single: share of the schedule in which every moment is a clip of its own. Attention to four equal moments gives
            what attention to one does, and some clips stand still: single moments are learnt without it too.
        begin_with: weights that a training begins with, as `WEIGHTS` has them; "" for none. What is left of a training
            whose state is gone goes on so. (torchrun takes --start, before its own --start-method is all spelt.)
        rate: peak learning rate; warm_up, hold: shares of the schedule until it is reached, and after which it falls.
        decay: weight decay.
        ema: what the averaged weights keep at each step.
        held_out: clips that are measured on.
        compiled: whether the network is compiled.
    """

    seed: int = 0
    steps: int | None = None
    minutes: float = 15.0
    clips: int = 12
    judged: int = 2
    pool: int = 8192
    chunk: int = 256
    stock: int = 1024
    reuse: float = 3.0
    single: float = 0.0
    begin_with: str = ""
    rate: float = 2e-3
    warm_up: float = 0.03
    hold: float = 0.5
    decay: float = 0.05
    ema: float = 0.999
    held_out: int = 32
    compiled: bool = False
    weights: Weights = field(default_factory=Weights)


class Training:
    """A training and where it is.

    Args:
        settings: what to do.
        device: to train on.
        folder: for its state, logs and weights; one that holds a state is gone on with.
        group: the processes that train it.
        variant: the network; a smaller one in tests.
    """

    LOG_EVERY, SAVE_EVERY, MEASURE_EVERY = 25, 2000, 1000
    """Steps."""

    def __init__(
        self,
        settings: Settings,
        device: torch.device,
        folder: Path,
        group: Group = ALONE,
        variant: Variant = TINY4D,
    ) -> None:
        if settings.seed == HELD_OUT_SEED:
            raise ValueError(f"{HELD_OUT_SEED} is the seed of held-out clips")
        self.settings, self.device, self.folder, self.group = settings, device, folder, group
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(settings.seed)
        self.network = OnePass(variant).to(device)
        if settings.begin_with:
            self.network.load_state_dict(
                {name: value.float() for name, value in load_file(settings.begin_with).items()}
            )
        if device.type == "cuda":
            self.network = self.network.to(memory_format=torch.channels_last)
        self.average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.averaged = OnePass(variant).to(device).eval()
        self.optimisers = self._optimisers()
        self.random = torch.Generator(device).manual_seed(settings.seed * group.size + group.rank)
        self.judge = Judge(variant.size, device, settings.weights)
        self.studio = Studio(settings.seed, device, variant.size, variant.splat_side)
        self.held_out = Studio(HELD_OUT_SEED, device, variant.size, variant.splat_side).clips(settings.held_out)
        self.step, self.seconds, self.made = 0, 0.0, 0
        self.waited = 0.0
        self._pool: list[Filmed] = []
        self._sums: dict[str, Tensor] = {}
        self._run: Callable[..., Any] = (
            torch.compile(self.network, dynamic=False) if settings.compiled else self.network
        )
        if (folder / STATE).exists():
            self._load()

    @property
    def progress(self) -> float:
        """Of the schedule, 0..1."""
        settings = self.settings
        return min(1.0, self.step / settings.steps if settings.steps else self.seconds / (60 * settings.minutes))

    def run(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Train until the schedule's end, or until `stop`; then measure and save."""
        before, begun = self.seconds, time.perf_counter()
        first, logged, told = self.step, (self.step, begun), False
        while self.progress < 1 and not told:
            self._take_step()
            if self.step % self.LOG_EVERY == 0 or self.step == first + 1:
                losses = self._losses(self.step - logged[0])  # waits for the device
                now = time.perf_counter()
                if self.step == first + 1 and self.settings.compiled:
                    begun = now  # until here it compiled
                elapsed = self._together(now - begun)
                self.seconds = before + elapsed
                self._log(losses, (self.step - logged[0]) / (now - logged[1]))
                logged = (self.step, now)
                told = any(flag.item() for flag in self.group.gather(torch.tensor(stop(), device=self.device)))
            elif self.group.size == 1:
                told = stop()
            if self.step % self.MEASURE_EVERY == 0:
                self.measure()
            if self.step % self.SAVE_EVERY == 0:
                self.save()
        self.seconds = before + self._together(time.perf_counter() - begun)
        self.measure()
        self.save()

    def _together(self, number: float) -> float:
        """As the first process has it."""
        return self.group.same(torch.tensor(number, device=self.device, dtype=torch.float64)).item()

    # -- a step ----------------------------------------------------------------------------------------------------

    def _take_step(self) -> None:
        settings = self.settings
        self._fill()
        clips = self._draw()
        shown = show(clips, self.progress < settings.single, settings.judged, self.random)
        background = torch.rand(3, generator=self.random, device=self.device)
        background = torch.where(torch.rand((), generator=self.random, device=self.device) < 0.5, 1.0, background)
        rate = self._rate()
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["rate"] * rate
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            splats = self.network(shown.seen)
        parts = self.judge.loss(shown, splats, background, self.progress)
        self.network.zero_grad(set_to_none=True)
        parts["loss"].backward()
        norm = self._agree()
        for optimiser in self.optimisers:
            optimiser.step()
        for name, value in {**parts, "norm": norm}.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=self.device)) + value.detach()
        self._keep_average()
        self.step += 1

    def _agree(self) -> Tensor:
        """Gradients become all processes' mean, clipped to length 1; what is not a number in them changes nothing."""
        gradients = [value.grad for value in self.network.parameters() if value.grad is not None]
        flat = torch.cat([value.flatten() for value in gradients])
        self.group.average([flat])
        norm = flat.norm()
        flat.mul_((1 / (norm + 1e-6)).clamp(max=1)).nan_to_num_(0.0, 0.0, 0.0)
        parts = flat.split([value.numel() for value in gradients])
        torch._foreach_copy_(gradients, [part.view_as(value) for part, value in zip(parts, gradients, strict=True)])
        return norm

    def _fill(self) -> None:
        """Make the clips that are due."""
        settings = self.settings
        later = (self.step + 1) * settings.clips / settings.reuse
        stock = max(min(settings.stock, settings.pool), settings.chunk)
        wanted = math.ceil(stock / settings.chunk + later / settings.chunk - 1)
        while self.made < wanted:
            began = time.perf_counter()
            self._add()
            if self.device.type == "cuda":
                torch.cuda.synchronize()
            self.waited += time.perf_counter() - began

    def _add(self) -> None:
        self.studio.calls = self.group.rank + self.group.size * self.made
        self._pool.append(self.studio.clips(self.settings.chunk))
        del self._pool[: -max(1, self.settings.pool // self.settings.chunk)]
        self.made += 1

    def _draw(self) -> Filmed:
        """Any clips of one of the pool's chunks, which take turns: to draw one would wait for the device."""
        which = torch.randint(self.settings.chunk, (self.settings.clips,), generator=self.random, device=self.device)
        return self._pool[self.step % len(self._pool)].take(which)

    def _rate(self) -> float:
        """Of the peak: it rises, is held, and falls as a cosine does."""
        settings = self.settings
        warm = min(1.0, self.progress / max(settings.warm_up, 1e-9) + 1e-3)
        falling = max(0.0, self.progress - settings.hold) / max(1 - settings.hold, 1e-9)
        return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * falling)))

    @torch.no_grad()
    def _keep_average(self) -> None:
        keep = min(self.settings.ema, self.step / (self.step + 10))
        now = self.network.state_dict()
        torch._foreach_lerp_(list(self.average.values()), [now[name] for name in self.average], 1 - keep)

    def _optimisers(self) -> list[torch.optim.Optimizer]:
        """Muon for what lies between layers, AdamW for the rest."""
        rate, decay = self.settings.rate, self.settings.decay
        ends = ("unet.conv_in.", "unet.conv_out.", "conv.")
        named = dict(self.network.named_parameters())
        hidden = [name for name, value in named.items() if value.ndim > 1 and not name.startswith(ends)]
        others = [name for name, value in named.items() if name not in hidden]

        def group(names: list[str], decay: float) -> dict[str, Any]:
            return {"params": [named[name] for name in names], "rate": rate, "weight_decay": decay}

        adam = torch.optim.AdamW([group(others, 0.0)], fused=self.device.type == "cuda", betas=(0.9, 0.95))
        return [adam, Muon([group(hidden, decay)])]

    # -- what is told ----------------------------------------------------------------------------------------------

    def _losses(self, steps: int) -> dict[str, float]:
        """Means over so many steps; makes room for more tiles where there was too little."""
        self.group.average(list(self._sums.values()))
        found = {name: value.item() / steps for name, value in self._sums.items()}
        self._sums = {}
        self.judge.grow()
        return found

    def _log(self, losses: dict[str, float], rate: float) -> None:
        row = {
            "step": self.step,
            **losses,
            "progress": self.progress,
            "seconds": round(self.seconds, 1),
            "steps_per_second": round(rate, 3),
            "clips_made": self.made * self.settings.chunk * self.group.size,
            "seconds_making_clips": round(self.waited, 1),
        }
        self._tell(LOG, row)

    def measure(self) -> dict[str, float]:
        """PSNR of the averaged weights on held-out clips, logged."""
        self.averaged.load_state_dict(self.average)
        found = measure(self.averaged, self.judge, self.held_out)
        self._tell(MEASURED, {"step": self.step, "seconds": round(self.seconds, 1), **found})
        return found

    def _tell(self, name: str, row: dict[str, Any]) -> None:
        if self.group.rank:
            return
        with (self.folder / name).open("a") as log:
            log.write(json.dumps(row) + "\n")
        print(", ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)

    # -- what is kept ----------------------------------------------------------------------------------------------

    def save(self) -> None:
        """State and weights; each appears complete or not at all."""
        random = [state.cpu() for state in self.group.gather(self.random.get_state().to(self.device))]
        if self.group.rank:
            return
        state = {
            "settings": self._described(),
            "network": self.network.state_dict(),
            "average": self.average,
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "random": random,
            "made": self.made,
            "step": self.step,
            "seconds": self.seconds,
        }
        _replace(self.folder / STATE, lambda path: torch.save(state, path))
        half = {name: value.half().contiguous().clone() for name, value in self.average.items()}
        _replace(self.folder / WEIGHTS, lambda path: save_file(half, path))

    def _described(self) -> str:
        return json.dumps(asdict(self.settings))

    def _load(self) -> None:
        state = torch.load(self.folder / STATE, map_location="cpu", weights_only=True)
        if state["settings"] != self._described():
            raise SystemExit(f"{self.folder} holds a training with other settings: {state['settings']}")
        if len(state["random"]) != self.group.size:
            raise SystemExit(f"{self.folder} was trained by {len(state['random'])} processes, not {self.group.size}")
        self.network.load_state_dict(state["network"])
        self.average = {name: value.to(self.device) for name, value in state["average"].items()}
        for optimiser, told in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(told)
        self.random.set_state(state["random"][self.group.rank])
        self.made = max(0, state["made"] - max(1, self.settings.pool // self.settings.chunk))
        while self.made < state["made"]:
            self._add()
        self.step, self.seconds = state["step"], state["seconds"]


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    partly = path.with_name(path.name + ".part")
    write(partly)
    os.replace(partly, path)
