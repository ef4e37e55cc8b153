"""A small known scene for tests: ray-traced datasets on disk, and finished runs without training.

A ball lies on a floor, flies in an arc, and lies again; a box stands still; a coloured sphere surrounds it all. World
axes are those of the real clip: y points down, the floor is y = 0. Surfaces have their colour whatever the light, so a
material point looks the same from everywhere and at all times. Pictures are ray-traced here, in numpy, and owe nothing
to the rasteriser that they are compared with.

    python -m tests.synthetic dataset DIR [--frames 24] [--size 96x72] [--train 8] [--test 2]
    python -m tests.synthetic run DIR     (the same options; language by the captions encoder, unless --no-language)
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from legs4d.gaussians.gaussians import Gaussians, concatenate, dc_from_rgb
from legs4d.gaussians.store.run import Run
from legs4d.scene.camera import Cameras

BACKGROUND, BOX, BALL = 0, 1, 2
BALL_RADIUS = 0.25
BALL_START, BALL_END = np.array([-0.8, -BALL_RADIUS, 0.5]), np.array([0.9, -BALL_RADIUS, 0.2])
ARC_HEIGHT = 1.0
BALL_TURN = 0.35
"""Radians about the y axis from frame to frame."""
BOX_LOW, BOX_HIGH = np.array([-0.3, -0.6, -0.8]), np.array([0.3, 0.0, -0.2])
SKY_RADIUS = 6.0
RING_RADIUS, RING_Y, TARGET = 3.2, -1.4, np.array([0.0, -0.4, 0.0])
FOCAL_PER_WIDTH = 0.8
FPS = 10.0
NEAR = 0.3
"""Nothing is nearer to a camera, scene units."""
SUBSAMPLES = 3
"""Rays per pixel and axis."""

CAPTION_ROOM = "an empty room with painted walls"
CAPTION_BOX = "a wooden box standing on the floor"
CAPTION_LYING = "a ball lying still on the floor"
CAPTION_FLYING = "a ball flying through the air"

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """The scene, and how it is filmed. With fewer than 3 frames the ball does not fly."""

    num_frames: int = 6
    width: int = 96
    height: int = 64
    num_train: int = 8
    num_test: int = 2

    @property
    def flight(self) -> tuple[int, int] | None:
        """First and last frame in which the ball is in the air."""
        third = self.num_frames // 3
        return (third, 2 * third - 1) if third else None

    def ball_center(self, frame: int) -> NDArray[np.float64]:
        """[3] where the ball is."""
        if self.flight is None or frame < self.flight[0]:
            return BALL_START
        first, last = self.flight
        u = min(1.0, (frame - first + 1) / (last - first + 2))
        return BALL_START + u * (BALL_END - BALL_START) - np.array([0.0, ARC_HEIGHT * 4 * u * (1 - u), 0.0])

    def cameras(self, split: str) -> Cameras:
        """Cameras on a ring, looking in; the test cameras are evenly spread among the training ones."""
        count = self.num_train + self.num_test
        test = (
            {round((i + 0.5) * count / self.num_test) % count for i in range(self.num_test)} if self.num_test else set()
        )
        ids = [i for i in range(count) if (i in test) == (split == "test")]
        poses = [_look_at_target(2 * np.pi * i / count) for i in ids]
        focal = FOCAL_PER_WIDTH * self.width
        intrinsics = np.array([[focal, 0, self.width / 2], [0, focal, self.height / 2], [0, 0, 1]], np.float32)
        return Cameras(
            np.array(poses, np.float32).reshape(-1, 4, 4),
            np.repeat(intrinsics[None], len(ids), axis=0),
            self.width,
            self.height,
            tuple(ids),
        )

    def photograph(self, cameras: Cameras, frame: int) -> tuple[Array, NDArray[np.uint8]]:
        """([C,H,W,3] RGB in 0..1, [C,H,W] object ids as seen through pixel centres)."""
        shots = [self._photograph_one(cameras, i, frame) for i in range(len(cameras))]
        return np.stack([s[0] for s in shots]), np.stack([s[1] for s in shots])

    def _photograph_one(self, cameras: Cameras, index: int, frame: int) -> tuple[Array, NDArray[np.uint8]]:
        n = SUBSAMPLES
        steps = (np.arange(n) + 0.5) / n
        x = (np.arange(cameras.width)[:, None] + steps).ravel()
        y = (np.arange(cameras.height)[:, None] + steps).ravel()
        pixels = np.stack([*np.meshgrid(x, y), np.ones((len(y), len(x)))], axis=-1)
        world_to_camera = cameras.world_to_camera[index].astype(np.float64)
        directions = pixels @ np.linalg.inv(cameras.intrinsics[index].astype(np.float64)).T @ world_to_camera[:3, :3]
        color, ids = self._trace(cameras.centers[index].astype(np.float64), directions, frame)
        color = color.reshape(cameras.height, n, cameras.width, n, 3).mean(axis=(1, 3))
        return color.astype(np.float32), ids[n // 2 :: n, n // 2 :: n]

    def _trace(
        self, origin: NDArray[np.float64], rays: NDArray[np.float64], frame: int
    ) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        """Colour [...,3] and object id [...] of what each ray [...,3] from `origin` [3] meets first."""
        center = self.ball_center(frame)
        with np.errstate(divide="ignore", invalid="ignore"):
            floor = -origin[1] / rays[..., 1]
        distances = np.stack(
            [
                _hit_sphere(origin, rays, np.zeros(3), SKY_RADIUS, far=True),
                np.where(floor > 0, floor, np.inf),
                _hit_box(origin, rays),
                _hit_sphere(origin, rays, center, BALL_RADIUS, far=False),
            ]
        )
        nearest = distances.argmin(axis=0)
        points = origin + rays * distances.min(axis=0)[..., None]
        on_ball = (points - center) @ _turn(frame)
        colors = np.stack([sky_color(points), floor_color(points), box_color(points), ball_color(on_ball)])
        color = np.take_along_axis(colors, nearest[None, ..., None], axis=0)[0]
        return color, np.array([BACKGROUND, BACKGROUND, BOX, BALL], np.uint8)[nearest]

    def captions(self) -> dict[int, list[tuple[int, int, str]]]:
        """Object id → (first frame, last frame, what it does)."""
        last = self.num_frames - 1
        ball = [(0, last, CAPTION_LYING)]
        if self.flight:
            start, end = self.flight
            ball = [(0, start - 1, CAPTION_LYING), (start, end, CAPTION_FLYING), (end + 1, last, CAPTION_LYING)]
        return {BACKGROUND: [(0, last, CAPTION_ROOM)], BOX: [(0, last, CAPTION_BOX)], BALL: ball}

    def static(self) -> Gaussians:
        """Sky, floor (not foreground) and box (foreground) as Gaussians."""
        sky = SKY_RADIUS * _fibonacci_sphere(300)
        side = np.linspace(-3, 3, 13)
        floor = np.stack([*np.meshgrid(side, 0.0, side)], axis=-1).reshape(-1, 3)
        box = _box_points(5)
        return concatenate(
            concatenate(_round(sky, sky_color(sky), 0.7, False), _round(floor, floor_color(floor), 0.28, False)),
            _round(box, box_color(box), 0.08, True),
        )

    def dynamic(self, frame: int) -> Gaussians:
        """The ball as Gaussians that turn with it."""
        local = (BALL_RADIUS - 0.04) * _fibonacci_sphere(60)
        ball = _round(local @ _turn(frame).T + self.ball_center(frame), ball_color(local), 0.06, True)
        half = BALL_TURN * frame / 2
        quat = np.array([np.cos(half), 0, np.sin(half), 0], np.float32)
        return ball.replace(quats=np.tile(quat, (len(ball), 1)))


def write_dataset(folder: Path, scene: Scene | None = None, *, image_suffix: str = ".jpg") -> Path:
    """Film the scene into a native dataset: meta files, ims/, seg/, objects/, captions.json. Returns `folder`."""
    scene = scene or Scene()
    for split in ("train", "test"):
        cameras = scene.cameras(split)
        _write_json(folder / f"{split}_meta.json", _meta(scene, cameras, image_suffix))
        for frame in range(scene.num_frames):
            _write_views(
                folder, cameras, *scene.photograph(cameras, frame), f"{frame:06d}", image_suffix, split == "train"
            )
    objects = {
        str(identity): [{"start": start, "end": end, "caption": text} for start, end, text in said]
        for identity, said in scene.captions().items()
    }
    _write_json(folder / "captions.json", {"objects": objects})
    return folder


def write_grounding(folder: Path, scene: Scene | None = None) -> Path:
    """The true masks of the flying ball on the test cameras, in the layout of the benchmark's pictures."""
    scene = scene or Scene()
    cameras = scene.cameras("test")
    first, last = scene.flight or (0, -1)
    for frame in range(first, last + 1):
        for camera, ids in zip(cameras.ids, scene.photograph(cameras, frame)[1], strict=True):
            path = folder / CAPTION_FLYING.replace(" ", "_") / f"cam{camera}" / f"{frame:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(ids == BALL).save(path)
    return folder


def write_run(folder: Path, scene: Scene | None = None, *, language: bool = True, dataset: str = "") -> Run:
    """A finished run whose Gaussians are the scene itself; with `language`, codes of the captions' embeddings."""
    scene = scene or Scene()
    run = Run.create(folder)
    run.set_info(
        dataset=dataset,
        scale=1.0,
        fps=FPS,
        encoder="captions",
        frame_numbers=list(range(scene.num_frames)),
        near=NEAR,
        center=TARGET.tolist(),
        radius=RING_RADIUS,
        down=[0.0, 1.0, 0.0],
    )
    with run.lock():
        run.begin_stage("first_frame", "synthetic")
        run.write_geometry(scene.static(), scene.dynamic(0), scene.num_frames)
        zeros = np.zeros((scene.num_train, 3), np.float32)
        run.write_cameras(scene.cameras("train"), scene.cameras("test") if scene.num_test else None, zeros, zeros)
        run.finish_stage("first_frame")
        run.begin_stage("tracking", "synthetic")
        for frame in range(scene.num_frames):
            ball = scene.dynamic(frame)
            run.write_frame(frame, ball.means, ball.quats, ball.colors)
            run.frame_done("tracking", frame, 0.0)
        run.finish_stage("tracking")
        if language:
            _write_language(run, scene)
    return run


def _write_language(run: Run, scene: Scene) -> None:
    from legs4d.language.codec.linear import fit_linear_codec
    from legs4d.language.encoders import get_encoder

    encoder = get_encoder("captions")
    rows = encoder.encode_text(sorted({text for said in scene.captions().values() for _, _, text in said}))
    codec = fit_linear_codec([rows])

    def codes(identities: NDArray[np.int64], frame: int) -> NDArray[np.float32]:
        texts = [_caption_at(scene, int(identity), frame) for identity in identities]
        return codec.encode(encoder.encode_text(texts))

    run.begin_stage("lift", "synthetic")
    arrays, attributes = codec.to_arrays()
    run.write_codec(attributes.pop("name"), arrays, attributes)
    is_box = run.static().is_foreground
    run.write_static_codes(codes(np.where(is_box, BOX, BACKGROUND), 0), np.ones(run.num_static))
    for frame in range(scene.num_frames):
        run.write_codes(frame, codes(np.full(run.num_dynamic, BALL), frame), np.ones(run.num_dynamic))
        run.frame_done("lift", frame, 0.0)
    run.finish_stage("lift")


def _caption_at(scene: Scene, identity: int, frame: int) -> str:
    return next(text for start, end, text in scene.captions()[identity] if start <= frame <= end)


# -- colours: what a material point looks like, [..., 3] → [..., 3] in 0..1


def sky_color(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 + 0.3 * np.sin(points / 2.5 + np.array([0.0, 1.0, 2.0]))


def floor_color(points: NDArray[np.float64]) -> NDArray[np.float64]:
    tiles = np.sin(2.5 * points[..., 0]) * np.sin(2.5 * points[..., 2])
    return np.array([0.45, 0.4, 0.35]) + 0.2 * tiles[..., None]


def box_color(points: NDArray[np.float64]) -> NDArray[np.float64]:
    grain = np.sin(9 * points[..., 1] + 2 * points[..., 0])
    return np.array([0.55, 0.3, 0.12]) + 0.1 * grain[..., None]


def ball_color(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of points relative to the ball's centre, turned with it."""
    stripe = np.tanh(8 * points[..., 0] / BALL_RADIUS)[..., None]
    return np.array([0.75, 0.25, 0.15]) + stripe * np.array([0.2, 0.2, 0.0])


# -- geometry -------------------------------------------------------------------------------------------------------


def _look_at_target(angle: float) -> NDArray[np.float64]:
    """World to camera of a camera on the ring; the picture's down is the world's down (+y)."""
    position = np.array([RING_RADIUS * np.sin(angle), RING_Y, -RING_RADIUS * np.cos(angle)])
    forward = (TARGET - position) / np.linalg.norm(TARGET - position)
    right = np.cross(np.array([0.0, 1.0, 0.0]), forward)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return np.block([[rotation, -(rotation @ position)[:, None]], [np.zeros((1, 3)), np.ones((1, 1))]])


def _turn(frame: int) -> NDArray[np.float64]:
    """[3,3] rotation of the ball about y."""
    c, s = np.cos(BALL_TURN * frame), np.sin(BALL_TURN * frame)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _hit_sphere(
    origin: NDArray[np.float64], rays: NDArray[np.float64], center: NDArray[np.float64], radius: float, *, far: bool
) -> NDArray[np.float64]:
    """Distance in units of the ray's length to the sphere's near or far side, inf where it is missed."""
    a, b = (rays**2).sum(-1), rays @ (origin - center)
    root = b**2 - a * ((origin - center) @ (origin - center) - radius**2)
    hit = (-b + (1 if far else -1) * np.sqrt(np.maximum(root, 0))) / a
    return np.where((root > 0) & (hit > 0), hit, np.inf)


def _hit_box(origin: NDArray[np.float64], rays: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        low, high = (BOX_LOW - origin) / rays, (BOX_HIGH - origin) / rays
    enter, leave = np.minimum(low, high).max(-1), np.maximum(low, high).min(-1)
    return np.where((enter < leave) & (enter > 0), enter, np.inf)


def _fibonacci_sphere(count: int) -> NDArray[np.float64]:
    """[count, 3] points spread evenly over the unit sphere."""
    i = np.arange(count) + 0.5
    height, angle = 1 - 2 * i / count, np.pi * (1 + 5**0.5) * i
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), height, radius * np.sin(angle)], axis=-1)


def _box_points(side: int) -> NDArray[np.float64]:
    """A side³ grid over the box, without its inside."""
    steps = (np.arange(side) + 0.5) / side
    grid = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    return (BOX_LOW + grid * (BOX_HIGH - BOX_LOW))[np.abs(grid - 0.5).max(-1) > 0.5 - 0.75 / side]


def _round(points: NDArray[np.float64], rgb: NDArray[np.float64], scale: float, foreground: bool) -> Gaussians:
    count = len(points)
    return Gaussians(
        means=points.astype(np.float32),
        quats=np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        scales=np.full((count, 3), scale, np.float32),
        opacities=np.full(count, 0.9, np.float32),
        colors=dc_from_rgb(rgb.astype(np.float32)),
        is_foreground=np.full(count, foreground),
    )


# -- files ------------------------------------------------------------------------------------------------------------


def _meta(scene: Scene, cameras: Cameras, image_suffix: str) -> dict:
    frames = range(scene.num_frames)
    return {
        "w": scene.width,
        "h": scene.height,
        "fps": FPS,
        "k": [cameras.intrinsics.tolist() for _ in frames],
        "w2c": [cameras.world_to_camera.tolist() for _ in frames],
        "fn": [[f"{camera}/{frame:06d}{image_suffix}" for camera in cameras.ids] for frame in frames],
        "cam_id": [list(cameras.ids) for _ in frames],
    }


def _write_views(
    folder: Path,
    cameras: Cameras,
    images: Array,
    ids: NDArray[np.uint8],
    name: str,
    image_suffix: str,
    with_masks: bool,
) -> None:
    for camera, image, identity in zip(cameras.ids, images, ids, strict=True):
        pictures = {f"ims/{camera}/{name}{image_suffix}": np.round(image * 255).astype(np.uint8)}
        if with_masks:
            pictures[f"seg/{camera}/{name}.png"] = identity > 0
            pictures[f"objects/{camera}/{name}.png"] = identity
        for path, picture in pictures.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / path, quality=95)


def _write_json(path: Path, value: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a small known scene as a dataset or as a finished run.")
    parser.add_argument("kind", choices=["dataset", "run"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--size", default="96x72", help="WIDTHxHEIGHT in pixels")
    parser.add_argument("--train", type=int, default=8, help="training cameras")
    parser.add_argument("--test", type=int, default=2, help="test cameras")
    parser.add_argument("--no-language", action="store_true", help="run: without codes")
    options = parser.parse_args()
    width, height = map(int, options.size.split("x"))
    scene = Scene(options.frames, width, height, options.train, options.test)
    if options.kind == "dataset":
        write_dataset(options.folder, scene)
    else:
        write_run(options.folder, scene, language=not options.no_language)


if __name__ == "__main__":
    main()
