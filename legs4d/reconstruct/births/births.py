"""What tracking could not know: surfaces that later frames show, the background behind what moves, shadows, and ends.

It begins when every frame is tracked. Frames from all over the clip are compared with what is known. What objects left
behind comes back to them, and what disappears for good dies. New Gaussians begin where pictures show what nothing
explains: those of moving things go with what is around them, forwards and backwards, so that they are known in all
frames. All are fitted to these frames together, and colours follow the light where that pays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import compress

import numpy as np
import torch
from numpy.typing import NDArray

from legs4d.config import BirthSettings
from legs4d.context import Context
from legs4d.gaussians.gaussians import Gaussians, concatenate
from legs4d.reconstruct.births.carrying import Carried, carry_along, joined
from legs4d.reconstruct.births.clip import Clip, ended
from legs4d.reconstruct.births.cutting import Shown, pieces, torn
from legs4d.reconstruct.births.entering import with_entered
from legs4d.reconstruct.births.evidence import FOREGROUND, NOBODY, Evidence, drawn_depth, look, shown_of
from legs4d.reconstruct.births.returning import with_returned
from legs4d.reconstruct.births.seeds import (
    Seeds,
    Views,
    covered,
    find_seeds,
    lacking,
    nothing,
    round_gaussians,
    together,
)
from legs4d.reconstruct.births.spans import said_by, sharpened, spans, straying
from legs4d.reconstruct.births.tints import in_between, paying, tints
from legs4d.reconstruct.captured.memory import let_go
from legs4d.reconstruct.observation import Observation
from legs4d.reconstruct.refine import TrackedFrame, refine
from legs4d.reconstruct.views import look_up

ROUNDS = 4
"""Frames in which new Gaussians may begin, each the one that lacks most of what earlier ones did not give."""
FEWEST = 20
"""Lacking pixels of a frame, over all views, from which it is worth a round."""


@dataclass(frozen=True)
class Revealed:
    """The clip with what was missing.

    Attributes:
        static: Gaussians that neither move nor change.
        dynamic: frame → the others: the M tracked ones, then those that moving things carry, then those that do not
            move, but change.
        born, died: [M'] first and last frame alive.
        seen: [N'], [M'] 0..1, the most pixels that each fills in one of the known frames, over all views; 0 for what
            no camera saw in any.
        counts: what was found, for people: moving and still ones that were born, those that died, that are tinted.
    """

    static: Gaussians
    dynamic: Callable[[int], Gaussians]
    born: NDArray[np.int32]
    died: NDArray[np.int32]
    seen: tuple[NDArray[np.float32], NDArray[np.float32]]
    counts: dict[str, int] = field(default_factory=dict)


def reveal(clip: Clip, settings: BirthSettings, context: Context) -> Revealed:
    """Find what is missing of a tracked clip, with settings that suit it.

    Raises:
        Stopped: the stop signal is set.
    """
    return _Search(clip, settings, context).find()


class _Search:
    def __init__(self, clip: Clip, settings: BirthSettings, context: Context) -> None:
        self.clip, self.settings, self.context = clip, settings, context
        self.reporter = context.reporter("births")
        spread = np.linspace(0, clip.num_frames - 1, min(settings.frames, clip.num_frames)).round().astype(int)
        self.known = [int(frame) for frame in np.unique(spread)]
        self.seen: dict[int, Observation] = {}
        self.still: dict[int, NDArray[np.float32]] = {}
        for frame in self.known:
            self.seen[frame] = self._observe(frame)
        self.near = clip.stage.near
        self.masks = [self.seen[frame].masks.cpu().numpy() for frame in self.known]
        self.clip = replace(clip, observe=lambda frame: self.seen[frame] if frame in self.seen else clip.observe(frame))

    def find(self) -> Revealed:
        still, tracked, most = len(self.clip.static), len(self.clip.objects), self.settings.most
        most = round(most * (still + tracked))
        evidence = self._trusted(self._look_at_all(lambda frame, _: self.clip.at(frame), ids=self.clip.ids))
        returned = with_returned(self.clip, evidence, self.known, self.reporter.check)
        self.moving = {frame: self._depth(returned.moving(frame), frame) for frame in self.known}
        clip = with_entered(returned, self.moving, most, self.settings.fit, self.reporter)
        if clip is not returned:
            let_go(clip.device)
            self.moving = {frame: self._depth(clip.moving(frame), frame) for frame in self.known}
        if clip is not self.clip:
            evidence = self._look_again(evidence, clip)
            self.clip = clip
        moving, frames = len(clip.objects), clip.num_frames
        rows = slice(still, still + moving)
        borne_out, contradicted = said_by(evidence, rows)
        _, died = spans(borne_out, contradicted & self.settings.ends, self.known, frames)
        died = np.maximum(died, 0)  # what the first frame shows is there in it
        died = np.minimum(died, clip.spans[1])
        died = sharpened(died, self.known, frames, rows, lambda frame: self._look(clip.at(frame), frame))
        seeds, carried = self._seeds(evidence, most - (moving - tracked))
        new = round_gaussians(seeds.positions, seeds.widths, seeds.rgb, seeds.moving)
        held = new.take(seeds.moving)

        cut, parts = self._pieces(evidence, most - (moving - tracked) - len(seeds))
        tint = tints(evidence, slice(0, still))
        tint *= self._paying(tint, evidence, slice(0, still))[:, None]
        fresh = concatenate(parts, new.take(~seeds.moving))
        static = concatenate(clip.static.take(~cut), fresh)
        tint = np.concatenate([tint[:, ~cut], np.zeros((len(tint), len(fresh), 3), np.float32)], axis=1)
        lack = np.array([np.square(one.off, dtype=np.float64).mean() for one in evidence])
        del evidence  # as large as all pictures that are looked at
        fitted = self._fit(static, tint, died, held, carried, lack)
        found = self._finished(fitted, tint, died, carried, tracked)
        return replace(found, counts=found.counts | {"born_still": int((~seeds.moving).sum())})

    def _trusted(self, evidence: list[Evidence]) -> list[Evidence]:
        """Leave out of the known frames those that are no pictures of the scene, a flash or a black frame."""
        use = [not strays for strays in straying([float(lacking(one.off).mean()) for one in evidence])]
        self.known, self.masks = list(compress(self.known, use)), list(compress(self.masks, use))
        return list(compress(evidence, use))

    # -- births --------------------------------------------------------------------------------------------------------

    def _seeds(self, evidence: list[Evidence], most: int) -> tuple[Seeds, Carried]:
        """Where new Gaussians begin, `most` at most, and how those of them that move get into every frame."""
        clip, known, device = self.clip, self.known, self.clip.device
        left = [lacking(one.off) for one in evidence]
        lack = [one.copy() for one in left]
        moving = [self.moving[frame] for frame in known]
        hides = [np.where(m >= FOREGROUND, np.nan_to_num(d), 0) for m, d in zip(self.masks, moving, strict=True)]
        found = [nothing()]
        ways = [Carried.nothing(clip.num_frames)]
        for _ in range(ROUNDS):
            which = int(np.argmax([one.sum() for one in left]))
            frame, seen = known[which], self.seen[known[which]]
            if left[which].sum() < FEWEST or not most:
                break
            views = Views(
                seen.cameras,
                evidence[which].target,
                left[which].copy(),
                self.masks[which],
                np.zeros(seen.masks.shape, np.uint8) if seen.labels is None else seen.labels,
                moving[which],
                self._still(frame),
                np.max(hides, axis=0) if clip.still else np.zeros_like(moving[which]),
            )
            left[which][:] = False
            seeds = find_seeds(views, self.near, device)
            seeds = seeds.take(seeds.moving | ~self._shown_before(seeds.positions, lack))
            if len(seeds) > most:
                seeds = seeds.take(np.sort(np.random.default_rng(0).permutation(len(seeds))[:most]))
            if not len(seeds):
                continue
            most -= len(seeds)
            way = self._ways(seeds, frame)
            for position, other in enumerate(known):
                there = seeds.positions.copy()
                there[seeds.moving] = way.place(torch.from_numpy(there[seeds.moving]), other).numpy()
                places = torch.from_numpy(there).to(device)
                left[position] &= ~covered(places, self.seen[other].cameras, self.near)
            found.append(seeds)
            ways.append(way)
            self.reporter.check()
        return together(found), joined(ways)

    def _ways(self, seeds: Seeds, frame: int) -> Carried:
        """How those seeds of a frame that move get into every frame."""
        seeds = seeds.take(seeds.moving)
        if not len(seeds):  # then nobody has to read all frames
            return Carried.nothing(self.clip.num_frames)
        rows, start = self._rows(seeds.label), self.clip.dynamic(frame).means
        return carry_along(seeds.positions, rows, start, self._tracks(), self.clip.objects)

    def _tracks(self) -> Iterator[NDArray[np.float32]]:
        """Where the tracked Gaussians are, frame by frame."""
        for frame in range(self.clip.num_frames):
            self.reporter.check()
            yield self.clip.dynamic(frame).means

    def _rows(self, label: NDArray[np.int64]) -> NDArray[np.int64]:
        """[B] which object ids in masks mean, -1 for none."""
        table = np.full(256, -1, np.int64)
        table[self.clip.ids] = np.arange(len(self.clip.ids))
        return table[label]

    def _shown_before(self, positions: NDArray[np.float32], lack: list[NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """[B] bool: in some frame two cameras see the background there, and it is as expected.

        Then a surface is known, and what changed is its light.
        """
        device, shown = self.clip.device, np.zeros(len(positions), np.bool_)
        points = torch.from_numpy(positions).to(device)
        for frame, masks, missing in zip(self.known, self.masks, lack, strict=True):
            good = torch.from_numpy(((masks < FOREGROUND) & ~missing)[..., None]).to(device)
            values, inside = look_up(good, self.seen[frame].cameras, points, self.near)
            shown |= ((values[..., 0] & inside).sum(dim=0) >= 2).cpu().numpy()
        return shown

    def _pieces(self, evidence: list[Evidence], most: int) -> tuple[NDArray[np.bool_], Gaussians]:
        """Which static Gaussians are cut, and their pieces."""
        clip = self.clip
        shown = [
            Shown(self.seen[frame].cameras, masks < FOREGROUND, lacking(one.off), self._still(frame))
            for frame, masks, one in zip(self.known, self.masks, evidence, strict=True)
        ]
        return pieces(clip.static, torn(evidence, slice(0, len(clip.static))), shown, clip.stage, most)

    # -- fit -----------------------------------------------------------------------------------------------------------

    def _fit(
        self,
        static: Gaussians,
        tint: NDArray[np.float32],
        died: NDArray[np.int32],
        held: Gaussians,
        carried: Carried,
        lack: NDArray[np.float64],
    ) -> _Fitted:
        """All that does not change from frame to frame, fitted to the known frames, most to those that lack most."""
        clip, device, settings = self.clip, self.clip.device, self.settings.fit
        if not settings.steps or not lack.any():  # nothing lacks
            return _Fitted(static, clip.dynamic(0).scales, clip.dynamic(0).opacities, held)
        frames = [
            TrackedFrame.of(
                self.seen[frame].to(device),
                ended(clip.moving(frame), died >= frame).torch(device),
                torch.as_tensor(tint[position], device=device),
            )
            for position, frame in enumerate(self.known)
        ]
        moving = (held.torch(device), carried.take(self.known, device)) if len(held) else None
        opacities = torch.as_tensor(clip.dynamic(0).opacities, device=device)
        found = refine(
            static.torch(device), opacities, frames, clip.colors, clip.stage, settings, self.reporter, moving, lack
        )
        return _Fitted(
            found.static.numpy(),
            found.scales.cpu().numpy(),
            found.opacities.cpu().numpy(),
            held if found.carried is None else found.carried.numpy(),
        )

    def _finished(
        self,
        fitted: _Fitted,
        tint: NDArray[np.float32],
        died: NDArray[np.int32],
        carried: Carried,
        tracked: int,
    ) -> Revealed:
        """Light and ends of what was fitted, and all of it together; `tracked` of what moves were there before."""
        clip, known, frames = self.clip, self.known, self.clip.num_frames
        still, moving, count = len(fitted.static), len(died), len(fitted.held)
        held, came = fitted.held.torch(), clip.spans[0]

        def dynamic(frame: int) -> Gaussians:
            old = clip.dynamic(frame).replace(scales=fitted.scales, opacities=fitted.opacities)
            return concatenate(old, carried.at(held, frame).numpy())

        def shown(frame: int, position: int) -> Gaussians:
            static = fitted.static.replace(colors=fitted.static.colors + tint[position])
            there = (came <= frame) & (frame <= died)
            return concatenate(static, ended(dynamic(frame), np.concatenate([there, np.ones(count, np.bool_)])))

        evidence = self._look_at_all(shown, pictures=False)
        rows = slice(still, still + moving + count)
        tint = tint + tints(evidence, slice(0, still))
        changing = self._paying(tint, evidence, slice(0, still))
        light = tints(evidence, rows)
        light *= self._paying(light, evidence, rows)[:, None]

        new = slice(still + moving, still + moving + count)
        borne_out, contradicted = said_by(evidence, new)
        born, gone = spans(borne_out, contradicted, known, frames)
        kept = np.concatenate([came <= died, born <= gone])
        born = np.concatenate([came, born])[kept]
        died = np.concatenate([died, gone])[kept]
        toned = fitted.static.take(changing)
        tone, light = tint[:, changing], light[:, kept]
        seen = shown_of(evidence)
        seen_still, seen_moving = seen[:still], seen[rows][kept]

        def at(frame: int) -> Gaussians:
            one = dynamic(frame).take(kept)
            one = one.replace(colors=one.colors + in_between(light, known, frame))
            return concatenate(one, toned.replace(colors=toned.colors + in_between(tone, known, frame)))

        whole = np.zeros(len(toned), np.int32)
        return Revealed(
            fitted.static.take(~changing),
            at,
            np.concatenate([born, whole]),
            np.concatenate([died, whole + frames - 1]),
            (seen_still[~changing], np.concatenate([seen_moving, seen_still[changing]])),
            {
                "born": int(kept[tracked:].sum()),
                "died": int((died < frames - 1).sum()),
                "changing": len(toned),
            },
        )

    def _paying(self, found: NDArray[np.float32], evidence: list[Evidence], rows: slice) -> NDArray[np.bool_]:
        """Which Gaussians keep their tints [F, K, 3]."""
        return paying(found, evidence, rows) & self.settings.light

    # -- looks ---------------------------------------------------------------------------------------------------------

    def _observe(self, frame: int) -> Observation:
        self.reporter.check()
        return self.clip.observe(frame)

    def _look_at_all(
        self, shown: Callable[[int, int], Gaussians], *, pictures: bool = True, ids: NDArray[np.int64] = NOBODY
    ) -> list[Evidence]:
        """Of the known frames; `shown` gives the Gaussians of a frame and its position among these.

        Args:
            pictures: whether to keep `target` and `off`, which are as large as the pictures.
            ids: of the objects that evidence shall tell of.
        """
        comparing, found = self.context.reporter("comparing_frames"), []
        for position, frame in enumerate(self.known):
            one = look(shown(frame, position), self._observe(frame), self.clip.colors, self.near, ids)
            found.append(one if pictures else one.without_pictures())
            comparing.step(position + 1, len(self.known))
        return found

    def _look_again(self, evidence: list[Evidence], clip: Clip) -> list[Evidence]:
        """The evidence of the known frames for another clip; what is the same in both was looked at."""
        found = []
        for frame, one in zip(self.known, evidence, strict=True):
            before, now = self.clip.dynamic(frame).means, clip.dynamic(frame).means
            found.append(one if np.array_equal(before, now) else self._look(clip.at(frame), frame))
        return found

    def _look(self, gaussians: Gaussians, frame: int) -> Evidence:
        return look(gaussians, self._observe(frame), self.clip.colors, self.near)

    def _still(self, frame: int) -> NDArray[np.float32]:
        """`_depth` of what does not move, which cameras that stand still see alike in all frames."""
        frame = self.known[0] if self.clip.still else frame
        if frame not in self.still:
            self.still[frame] = self._depth(self.clip.static, frame)
        return self.still[frame]

    def _depth(self, gaussians: Gaussians, frame: int) -> NDArray[np.float32]:
        return drawn_depth(gaussians, self.seen[frame].cameras, self.near, self.clip.device)


@dataclass(frozen=True)
class _Fitted:
    static: Gaussians
    scales: NDArray[np.float32]
    opacities: NDArray[np.float32]
    held: Gaussians
