"""Segments of true, shaky and unordered masks against held-out views; the time of lift and click; the yardstick.

scripts/bench/segment/segments.py --times                         # 27 views × 100 masks, 300,000 Gaussians
scripts/bench/segment/segments.py --demo CAPTURE RUN              # scripts/demo's capture, and a run of it
scripts/bench/segment/segments.py --demo FILMED RUN --name hall   # one of training/calibration
scripts/bench/segment/segments.py --object DATASET RUN            # a static object with masks, such as the tankard
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion, maximum_filter
from scipy.spatial import cKDTree

sys.path[:0] = map(str, Path(__file__).resolve().parents[2:4])  # scripts/ and the repository

from bench import figures
from bench.language.lift import NEAR, room
from legs4d.gaussians.gaussians import Gaussians
from legs4d.gaussians.store.run import Run
from legs4d.raster import render
from legs4d.scene.camera import Cameras
from legs4d.scene.images import read_mask
from legs4d.scene.paths import orbit
from legs4d.scene.readers import open_sequence, reading_of
from legs4d.segment.choose import at_click
from legs4d.segment.lifting import Evidence, lift_masks
from legs4d.segment.masks.frame_masks import FrameMasks, masks_of_labels
from legs4d.segment.neighbours import Neighbours
from legs4d.segment.pick import under_pixel
from legs4d.segment.segments import Segments
from legs4d.segment.stage import lift_device
from legs4d.segment.trained.clusters import clusters
from legs4d.segment.trained.stage import covered
from legs4d.segment.trained.training import FeatureSettings, FeatureTraining
from legs4d.segment.tree import TreeSettings, make_segments, scale_of, segments_of_shares

Labels = NDArray[np.uint8]
WARM = 100
"""Steps of training that are not timed."""
CEILING_STEPS = 150
_NUMBER = {4: "four", 5: "five"}
BORDER = 2
"""Pixels to either side of an outline that count as boundary."""


class Scene:
    """Gaussians of one frame, and what is to be seen of things in held-out views."""

    def __init__(self, gaussians: Gaussians, near: float, test: Cameras, truth: Labels, device: str) -> None:
        self.gaussians, self.near, self.test, self.truth, self.device = gaussians, near, test, truth, device
        self.around = Neighbours.of(gaussians)

    def evidence(self, masks: FrameMasks) -> Evidence:
        """Of these masks."""
        count = len(self.gaussians)
        device = lift_device("auto" if self.device != "cpu" else "cpu")
        return lift_masks([(self.gaussians, masks)], lambda _: np.arange(count), count, self.near, device=device)

    def segments(self, masks: FrameMasks) -> Segments:
        """Of these masks."""
        return make_segments(self.evidence(masks), self.gaussians.means, self.around, TreeSettings())

    def seen(self, belongs: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """[C, H, W] where Gaussians that belong fill half of what is seen, in the held-out views."""
        return self.shown(belongs.astype(np.float32))

    def shown(self, weights: NDArray[np.float32]) -> NDArray[np.bool_]:
        """As `seen`, of Gaussians that belong more or less [N], 0..1."""
        values = torch.from_numpy(weights)[:, None].to(self.device)
        with torch.no_grad():
            picture = render(self.gaussians.torch(self.device), self.test, values, near=self.near)
        assert picture.features is not None
        return np.asarray((picture.features[..., 0] >= 0.5 * picture.alpha.clamp(min=0.5)).cpu().numpy())

    def judge(self, segments: Segments, threshold: float = 0.5) -> tuple[float, float]:
        """(mean IoU, mean boundary IoU) over things: of each, the segment that shows it best."""
        shown = [self.seen(segments.weights(s) >= threshold) for s in range(len(segments))]
        found = []
        for thing in np.unique(self.truth[self.truth > 0]):
            true = self.truth == thing
            best = max(shown, key=lambda mask: overlap(mask, true))
            found.append((overlap(best, true), overlap(border(best), border(true))))
        mean = np.mean(found, axis=0)
        return float(mean[0]), float(mean[1])


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """IoU."""
    return float((one & other).sum() / max(1, (one | other).sum()))


def border(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What of masks [C, H, W] is within BORDER pixels of their outline."""
    return np.stack([mask & ~binary_erosion(mask, iterations=BORDER, border_value=1) for mask in masks])


def off_by_a_pixel(labels: Labels, rng: np.random.Generator) -> Labels:
    """Half of the pictures with every thing a pixel larger all round, the others with every thing a pixel smaller."""
    found = labels.copy()
    for at, one in enumerate(labels):
        if rng.random() < 0.5:
            found[at] = np.where(one == 0, maximum_filter(one, 3), one)
        else:
            found[at] = 0
            for thing in np.unique(one[one > 0]):
                found[at][binary_erosion(one == thing)] = thing
    return found


def show_demo(capture: Path, run: Run, device: str, steps: int, sweep: bool, ceiling: bool, name: str) -> None:
    """A filmed scene's objects in its held-out cameras, from some and all of the others: the demo's five in two."""
    train, test = run.cameras("train"), run.cameras("test")

    def labels(cameras: Cameras) -> Labels:
        number = int(run.info["frame_numbers"][0])
        places = [capture / "objects" / str(camera) / f"{number:06d}.png" for camera in cameras.ids]
        return np.stack([np.asarray(Image.open(place)) for place in places])

    scene = Scene(run.frame(0), float(run.info["near"]), test, labels(test), device)
    true, rng = labels(train), np.random.default_rng(0)
    things = len(np.unique(scene.truth[scene.truth > 0]))
    print(f"{name}: {len(scene.gaussians)} Gaussians, {things} objects, {len(train)} + {len(test)} cameras")
    for count, aim in ((1, ""), (3, "≥ 0.97"), (6, ""), (len(train), "≥ 0.98")):
        views = np.linspace(0, len(train), count, endpoint=False).astype(int)
        masks = masks_of_labels(0, train.take(views), true[views])
        what = f"{name}, true masks of {count} views, mean IoU of {_NUMBER.get(things, things)} objects"
        tell(what, scene.judge(scene.segments(masks)), aim)
    if sweep:
        show_choices(scene, train, true, rng)
    shaky = masks_of_labels(0, train, off_by_a_pixel(true, rng))
    tell(f"{name}, masks off by a pixel", scene.judge(scene.segments(shaky)), "≥ 0.96")
    whole = masks_of_labels(0, train, true)
    given = scene.judge(scene.segments(whole))[0]
    found = scene.judge(scene.segments(replace(whole, identity=None)))
    tell(f"{name}, masks without identities", found, f"≥ {0.95 * given:.3f} (0.95 of given)")
    if ceiling:
        show_ceiling(name, scene, train, true)
    if steps:
        show_trained(name, scene, replace(whole, identity=None), device, steps, found[0])


def show_choices(scene: Scene, train: Cameras, true: Labels, rng: np.random.Generator) -> None:
    """How the IoU goes with what was chosen, for scenes that do not judge: nothing of it is recorded."""
    shaky = off_by_a_pixel(true, rng)
    views = np.linspace(0, len(train), 3, endpoint=False).astype(int)
    given = {
        "3 views": masks_of_labels(0, train.take(views), true[views]),
        "all": masks_of_labels(0, train, true),
        "off by a pixel": masks_of_labels(0, train, shaky),
    }
    evidence = {name: scene.evidence(masks) for name, masks in given.items()}
    for trusted in (0.0, 0.125, 0.25, 0.5, 1.0, 2.0):
        for threshold in (0.4, 0.5, 0.6):
            settings = TreeSettings(trusted=trusted)
            found = []
            for name, one in evidence.items():
                made = make_segments(one, scene.gaussians.means, scene.around, settings)
                found.append(f"{name} {scene.judge(made, threshold)[0]:.4f}")
            print(f"    trusted {trusted:g}, threshold {threshold:g}: {', '.join(found)}", flush=True)


def show_object(dataset: Path, run: Run, device: str, steps: int, ceiling: bool) -> None:
    """A static object in held-out views, at several thresholds; and how far its masks agree with each other."""
    sequence = open_sequence(dataset, reading_of(run.info))
    train, test = run.cameras("train"), run.cameras("test")
    size = (test.width, test.height)
    drawn = [read_mask(dataset / "masks" / f"{name}.png") for name in sequence.picture_names("test", 0)]
    pictures = [Image.fromarray(np.asarray(one, np.uint8) * 255).resize(size, Image.Resampling.BOX) for one in drawn]
    truth = np.stack([np.asarray(one) >= 128 for one in pictures]).astype(np.uint8)
    given = sequence.masks("train", 0)
    assert given is not None
    scene = Scene(run.frame(0), float(run.info["near"]), test, truth, device)
    masks = masks_of_labels(0, train, (given >= 0.5).astype(np.uint8))
    started = time.perf_counter()
    segments = scene.segments(masks)
    print(f"object: {len(scene.gaussians)} Gaussians, {len(train)} views in {time.perf_counter() - started:.2f} s")
    for threshold in (0.3, 0.5, 0.7):
        tell(f"object, held out, threshold {threshold}", scene.judge(segments, threshold), "≥ 0.965")
    there = Scene(scene.gaussians, scene.near, train, (given >= 0.5).astype(np.uint8), device)
    tell("object, in the views of the masks themselves", there.judge(segments), "")
    if ceiling:
        show_ceiling("object", scene, train, (given >= 0.5).astype(np.uint8))
    if steps:  # contrast needs two masks: the object, and what is not
        both = masks_of_labels(0, train, np.where(given >= 0.5, 1, 2).astype(np.uint8))
        show_trained("object", scene, both, device, steps, scene.judge(scene.segments(both))[0])


def show_trained(what: str, scene: Scene, masks: FrameMasks, device: str, steps: int, closed: float) -> None:
    """The trained route on the same masks: of each thing, the best of 5 scales and 5 thresholds, and its own segments.

    Args:
        closed: mean IoU of the closed form, to be reached.
    """
    training = FeatureTraining([(scene.gaussians.torch(device), masks)], scene.near, FeatureSettings(steps=steps))
    training.run(lambda done, total, loss: _warm(done, training, _STARTED))
    gated, shown = training.result(), covered(scene.evidence(masks)) >= 0.5
    if device != "cpu":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - _STARTED[-1]
    step = 1000 * seconds / max(1, steps - WARM)
    evidence = scene.evidence(masks)
    wall, spent = timed(lambda: scene.segments(masks), 1)
    lifted = scene.segments(masks)
    found = []
    for thing in np.unique(scene.truth[scene.truth > 0]):
        true = scene.truth == thing
        best = max(range(len(lifted)), key=lambda s: overlap(scene.seen(lifted.weights(s) >= 0.5), true))
        inside = torch.from_numpy(lifted.weights(best) >= 0.5).to(device)
        scores = []
        for scale in (0.0, 0.25, 0.5, 0.75, 1.0):
            gate = gated.gate(scale)
            query = torch.nn.functional.normalize((gated.features[inside] * gate).mean(0), dim=0)[:, None]
            values = gated.scores(query, scale)[:, 0].cpu().numpy()
            scores += [overlap(scene.seen((values > cut) & shown), true) for cut in (0.7, 0.8, 0.85, 0.9, 0.95)]
        found.append(max(scores))
    shares = clusters(gated, covered(evidence))
    own = segments_of_shares(shares, evidence.mass, scene.gaussians.means, scene.around, TreeSettings())
    grouped = scene.judge(own)[0] if len(own) else 0.0
    told = f"{np.mean(found):.4f} (its own groups {grouped:.4f}) in {step * steps / 1000:.0f} s, {step:.1f} ms a step"
    print(
        f"  {what}, trained {steps} steps, best of 5 scales and 5 thresholds, of what masks show: {told}; "
        f"closed form {closed:.4f}"
    )
    where = torch.cuda.get_device_name() if device != "cpu" else "CPU"
    told = f"{told}, {where}; closed form {closed:.4f} in {wall:.2f} s ({spent:.2f} of CPU)"
    figures.record("Segments", f"{what}, trained features of {steps} steps", told, aim="closed form ≥, ≤ 10 ms a step")


_STARTED = [0.0]
"""When the steps that count began."""


def _warm(done: int, training: FeatureTraining, since: list[float]) -> None:
    """The first steps load kernels and fill memory pools: they are no measure of the others."""
    if done == min(WARM, training.settings.steps):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        since.append(time.perf_counter())


def show_ceiling(what: str, scene: Scene, train: Cameras, masks: Labels) -> None:
    """What labels of these Gaussians can reach, by gradient descent on masks instead of in closed form.

    Fitted to the masks of the training views: what these views know. Fitted to the held-out masks themselves: labels
    that bend to errors of the run in those very views, so nothing that does not see them comes near. Labels between 0
    and 1 are what splitting Gaussians at borders could reach at best.
    """
    views = f"{len(train)} training views"
    for of, cameras, labels in ((views, train, masks), ("the held-out views themselves", scene.test, scene.truth)):
        fitted = _fitted(scene, cameras, labels)
        for kind, values in (("0 or 1", (fitted >= 0.5).astype(np.float32)), ("between", fitted)):
            shown = [scene.shown(values[:, column]) for column in range(values.shape[1])]
            found = []
            for mask, thing in zip(shown, np.unique(scene.truth[scene.truth > 0]), strict=True):
                true = scene.truth == thing
                found.append((overlap(mask, true), overlap(border(mask), border(true))))
            mean = np.mean(found, axis=0)
            tell(f"{what}, labels ({kind}) fitted to the masks of {of}", (float(mean[0]), float(mean[1])), "")


def _fitted(scene: Scene, cameras: Cameras, labels: Labels) -> NDArray[np.float32]:
    """[N, T] 0..1, of the things that the held-out views show."""
    things = np.unique(scene.truth[scene.truth > 0])
    true = torch.from_numpy(np.stack([labels == thing for thing in things], -1)).float().to(scene.device)
    placed = scene.gaussians.torch(scene.device)
    fitted = torch.full((len(scene.gaussians), len(things)), -1.0, device=scene.device).requires_grad_()
    adam = torch.optim.Adam([fitted], lr=0.2)
    for _ in range(CEILING_STEPS):
        picture = render(placed, cameras, torch.sigmoid(fitted), near=scene.near)
        assert picture.features is not None
        shown = picture.features - 0.5 * picture.alpha[..., None].clamp(min=0.5)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(10 * shown, true)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
    return np.asarray(torch.sigmoid(fitted).detach().cpu().numpy(), np.float32)


def show_times(device: str) -> None:
    """27 views of 640 × 360 with 100 masks each, and clicks, at 300,000 Gaussians."""
    gaussians, count = room(300_000), 27
    lens = Cameras(
        np.eye(4, dtype=np.float32)[None],
        np.array([[[500, 0, 320], [0, 500, 180], [0, 0, 1]]], np.float32),
        640,
        360,
        (0,),
    )
    views = orbit(np.array([0.0, -0.9, 0.0]), 3.0, np.array([0.0, 1.0, 0.0]), count, lens)
    rows, columns = np.mgrid[:360, :640]
    blocks = (rows * 10 // 360) * 10 + columns * 10 // 640 + 1
    masks = masks_of_labels(0, views, np.repeat(blocks[None], count, 0).astype(np.uint8))
    one = replace(masks, index=np.where(masks.index >= 0, 0, -1), identity=np.zeros(len(masks), np.int64))

    def lift(some: FrameMasks) -> Callable[[], object]:
        n = len(gaussians)
        return lambda: lift_masks([(gaussians, some)], lambda _: np.arange(n), n, NEAR, device=device)

    for what, work in (
        ("27 views × 100 masks with identities", lift(masks)),
        ("27 views × 100 masks without", lift(replace(masks, identity=None))),
        ("27 views × 1 mask (the floor: compositing alone)", lift(one)),
    ):
        wall, spent = timed(work)
        say_time(f"lift of {what}, {device}", wall, spent, "≤ 30 ms on an H100, ≤ 2 s on two cores")
    if device != "cpu":
        show_kernel(gaussians, views, masks, device)
    segments = in_cells(gaussians, 100)
    view = views.take([3])
    wall, spent = timed(lambda: at_click(segments, under_pixel(gaussians, view, (320, 200), NEAR), 0.5))
    say_time("a click at 300,000 Gaussians and 100 segments, cpu", wall, spent, "≤ 150 ms")
    filled = under_pixel(gaussians, view, (320, 200), NEAR)
    wall, spent = timed(lambda: [at_click(segments, filled, scale / 9) for scale in range(10)])
    say_time("ten scales of it", wall, spent, "")


def in_cells(gaussians: Gaussians, count: int) -> Segments:
    """Segments of Gaussians that lie together, all of them in some segment."""
    means, rng = gaussians.means, np.random.default_rng(0)
    nearest = cKDTree(means[rng.choice(len(means), count, replace=False)]).query(means)[1]
    entries = (np.ones(len(means), np.float32), (np.arange(len(means)), nearest))
    members = scipy.sparse.csc_array(entries, shape=(len(means), count))
    mass = np.ones(len(means), np.float32)
    scale = np.array([scale_of(means, *_column(members, s)) for s in range(count)], np.float32)
    return Segments(members, np.full(count, -1, np.int32), scale, mass, ("",) * count)


def _column(members: scipy.sparse.csc_array, number: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    part = slice(members.indptr[number], members.indptr[number + 1])
    return members.indices[part], members.data[part]


def show_kernel(gaussians: Gaussians, views: Cameras, masks: FrameMasks, device: str) -> None:
    """The lift on the device alone: tiles, sorting, sums; Gaussians, masks and result stay there."""
    from legs4d.raster.cuda_lift import lift_table, tile_pixel_map

    assert masks.identity is not None
    things, which = np.unique(masks.identity, return_inverse=True)
    index = np.append(which, -1)[masks.index].astype(np.int32)
    placed = gaussians.torch(device)
    tiled = tile_pixel_map(index, (index >= 0).astype(np.float32), len(things), device)
    table = torch.eye(len(things), device=device)

    def work() -> None:
        lift_table(placed, views, tiled, table, NEAR)
        torch.cuda.synchronize()

    wall, spent = timed(work, 10)
    say_time("lift of 27 views × 100 masks, device alone", wall, spent, "≤ 30 ms")


def timed(work: Callable[[], object], times: int = 3) -> tuple[float, float]:
    """(least wall seconds, least processor seconds) of several."""
    found = []
    for _ in range(times):
        wall, spent = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - wall, time.process_time() - spent))
    return min(f[0] for f in found), min(f[1] for f in found)


def say_time(what: str, wall: float, spent: float, aim: str) -> None:
    """Print and record."""
    told = f"{1000 * wall:.1f} ms ({1000 * spent:.0f} ms of processor)"
    print(f"  {what}: {told}")
    figures.record("Segments", what, told, aim=aim)


def tell(what: str, scores: tuple[float, float], aim: str) -> None:
    """Print and record."""
    told = f"{scores[0]:.4f}, boundary at 2 px {scores[1]:.3f}"
    print(f"  {what}: {told}")
    figures.record("Segments", what, told, aim=aim)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--demo", type=Path, nargs=2, metavar=("CAPTURE", "RUN"))
    parser.add_argument("--name", default="demo", help="of the scene, in the figures of --demo")
    parser.add_argument("--object", type=Path, nargs=2, metavar=("DATASET", "RUN"))
    parser.add_argument("--trained", type=int, default=0, metavar="STEPS", help="also the trained route")
    parser.add_argument("--ceiling", action="store_true", help="also what labels can reach at all")
    parser.add_argument("--sweep", action="store_true", help="also with other settings, to choose by another scene")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    asked = figures.parse(parser)
    if asked.times:
        show_times(asked.device)
    if asked.demo:
        capture, made = asked.demo[0], Run.open(asked.demo[1])
        show_demo(capture, made, asked.device, asked.trained, asked.sweep, asked.ceiling, asked.name)
    if asked.object:
        show_object(asked.object[0], Run.open(asked.object[1]), asked.device, asked.trained, asked.ceiling)


if __name__ == "__main__":
    main()
