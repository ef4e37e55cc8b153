"""Footage as people have it: every layout as other systems, cameras and scripts write it is read as what was filmed."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from legs4d.config import DatasetSettings
from legs4d.errors import DatasetError
from legs4d.scene.camera import Cameras
from legs4d.scene.foreground import MotionMasks
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence, cameras_move
from tests.scene.layouts import (
    all_cameras,
    camera_to_world,
    photograph,
    save,
    to_bytes,
    write_colmap,
    write_instant_ngp,
    write_json,
    write_multipleview,
    write_neu3d,
    write_plain_videos,
)
from tests.synthetic import Scene, write_dataset

SCENE = Scene(num_frames=3, width=48, height=32, num_train=3, num_test=1)
WRITERS: dict[str, Callable[[Path, Scene], Path]] = {
    "panoptic": lambda folder, scene: write_dataset(folder, scene, image_suffix=".png"),
    "nerf": write_instant_ngp,
    "neu3d": write_neu3d,
    "videos": write_plain_videos,
    "colmap": write_colmap,
    "multipleview": write_multipleview,
}
CLOSE = {"neu3d": 0.03, "videos": 0.03}
"""Mean error of pictures in videos, 0..1; others are exact."""


def edit(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def found_cameras(sequence: Sequence, frame: int) -> tuple[Cameras, NDArray[np.float32]]:
    """Training and test cameras of a frame, and their pictures."""
    train, test = sequence.cameras("train", frame), sequence.cameras("test", frame)
    both = Cameras(
        np.concatenate([train.world_to_camera, test.world_to_camera]),
        np.concatenate([train.intrinsics, test.intrinsics]),
        train.width,
        train.height,
        (*train.ids, *test.ids),
    )
    return both, np.concatenate([sequence.images("train", frame), sequence.images("test", frame)])


def assert_is_the_scene(
    sequence: Sequence, scene: Scene, worst: float = 0.003, *, frames: list[int] | None = None
) -> None:
    """Every picture is what its camera sees: so poses, intrinsics, pictures and frames belong together."""
    frames = list(range(scene.num_frames)) if frames is None else frames
    assert sequence.num_frames == len(frames)
    for frame, filmed in enumerate(frames):
        cameras, pictures = found_cameras(sequence, frame)
        assert np.abs(pictures - scene.photograph(cameras, filmed)[0]).mean() < worst, f"frame {frame}"


# -- names -------------------------------------------------------------------------------------------------------------


def long_scene() -> Scene:
    return Scene(num_frames=12, width=32, height=24, num_train=2, num_test=0)


@pytest.mark.parametrize(
    "pictures", ["cam{camera}/{frame}.png", "{frame}/cam{camera}.png", "c{camera}/f_{frame}_x.png"]
)
def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path, pictures: str) -> None:
    sequence = open_sequence(write_colmap(tmp_path, long_scene(), pictures=pictures))
    assert_is_the_scene(sequence, long_scene())


def test_frames_are_in_order_in_every_layout(tmp_path: Path) -> None:
    folder = write_multipleview(tmp_path, long_scene())
    for path in folder.rglob("frame_*.png"):
        path.rename(path.with_name(f"{int(path.stem[6:])}.png"))
    assert_is_the_scene(open_sequence(folder), long_scene())


def test_videos_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    scene = Scene(num_frames=1, width=32, height=24, num_train=11, num_test=0)
    folder = write_neu3d(tmp_path, scene)
    for path in sorted(folder.glob("cam*.mp4")):
        path.rename(path.with_name(f"cam{int(path.stem[3:])}.MP4"))
    assert_is_the_scene(open_sequence(folder), scene, 0.03)


def test_names_that_mix_are_refused(tmp_path: Path) -> None:
    folder = write_colmap(tmp_path, SCENE)
    for path in folder.glob("images/*/0001.png"):
        path.rename(path.with_name("take_1.png"))
    with pytest.raises(DatasetError, match=r"names its frames in more than one way \('0000' and 'take_1'\)"):
        open_sequence(folder)


def test_each_camera_may_name_its_frames_in_its_own_way(tmp_path: Path) -> None:
    folder = write_colmap(tmp_path, SCENE, pictures="cam{camera:02d}/cam{camera:02d}_{frame}.png")
    assert_is_the_scene(open_sequence(folder), SCENE)


@pytest.mark.parametrize("name", WRITERS)
def test_what_systems_leave_behind_is_not_read(tmp_path: Path, name: str) -> None:
    folder = WRITERS[name](tmp_path, SCENE)
    for place in [folder, *(p for p in folder.rglob("*") if p.is_dir())]:
        for left in ("._0001.png", "._cam01.mp4", ".DS_Store", "Thumbs.db"):
            (place / left).write_bytes(b"\0\5\x16\7")
    (folder / "__MACOSX").mkdir()
    assert_is_the_scene(open_sequence(folder), SCENE, CLOSE.get(name, 0.003))


@pytest.mark.parametrize("name", WRITERS)
def test_suffixes_may_be_upper_case(tmp_path: Path, name: str) -> None:
    folder = WRITERS[name](tmp_path, SCENE)
    for path in [p for p in folder.rglob("*") if p.suffix in (".png", ".mp4")]:
        path.rename(path.with_suffix(path.suffix.upper()))
    assert_is_the_scene(open_sequence(folder), SCENE, CLOSE.get(name, 0.003))


def test_either_slash_separates(tmp_path: Path) -> None:
    nerf = write_instant_ngp(tmp_path / "nerf", SCENE)
    edit(
        nerf / "transforms.json",
        lambda c: [f.update(file_path=".\\" + f["file_path"].replace("/", "\\")) for f in c["frames"]],
    )
    panoptic = WRITERS["panoptic"](tmp_path / "panoptic", SCENE)
    for meta in ("train_meta.json", "test_meta.json"):
        edit(panoptic / meta, lambda c: c.update(fn=[[n.replace("/", "\\") for n in row] for row in c["fn"]]))
    videos = write_plain_videos(tmp_path / "videos", SCENE)
    (videos / "films").mkdir()
    for video in videos.glob("*.mp4"):
        video.rename(videos / "films" / video.name)
    edit(videos / "cameras.json", lambda c: [one.update(video="films\\" + one["video"]) for one in c["cameras"]])
    colmap = write_colmap(tmp_path / "colmap", SCENE)
    images = colmap / "sparse/0/images.txt"
    images.write_text(images.read_text().replace("/0000", "\\0000"))
    for folder in (nerf, panoptic, videos, colmap):
        assert_is_the_scene(open_sequence(folder), SCENE, CLOSE.get(folder.name, 0.003))


def test_letters_of_any_script_in_either_unicode_form(tmp_path: Path) -> None:
    folder = write_instant_ngp(tmp_path / "nerf", SCENE)
    (folder / "images").rename(folder / unicodedata.normalize("NFD", "écran 舞台"))
    edit(
        folder / "transforms.json",
        lambda c: [
            f.update(file_path=f["file_path"].replace("images", unicodedata.normalize("NFC", "écran 舞台")))
            for f in c["frames"]
        ],
    )
    assert_is_the_scene(open_sequence(folder), SCENE)
    colmap = write_colmap(tmp_path / "colmap", SCENE, pictures="Kam_é{camera}/{frame}.png")
    for path in sorted((colmap / "images").iterdir()):
        path.rename(path.with_name(unicodedata.normalize("NFD", path.name)))
    assert_is_the_scene(open_sequence(colmap), SCENE)


@pytest.mark.parametrize("name", ["C:\\x.png", "..\\..\\x.png", "/etc/passwd", "a/../../x"])
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = write_instant_ngp(tmp_path, SCENE)
    edit(folder / "transforms.json", lambda c: c["frames"][0].update(file_path=name))
    with pytest.raises(DatasetError, match="names the file"):
        open_sequence(folder)


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_pictures_are_turned_as_their_metadata_say(tmp_path: Path) -> None:
    folder = write_instant_ngp(tmp_path, SCENE)
    for path in (folder / "images").glob("*.png"):
        exif = Image.Exif()
        exif[0x0112] = 6  # shown turned by 90° to the right
        Image.open(path).transpose(Image.Transpose.ROTATE_90).save(path, exif=exif)
    assert_is_the_scene(open_sequence(folder), SCENE)


def test_pictures_calibrated_as_they_are_stored_are_read_so(tmp_path: Path) -> None:
    folder = write_instant_ngp(tmp_path, SCENE)
    for path in (folder / "images").glob("*.png"):
        exif = Image.Exif()
        exif[0x0112] = 8
        Image.open(path).save(path, exif=exif)
    sequence = open_sequence(folder)
    assert_is_the_scene(sequence, SCENE)
    assert "calibrated for them as stored" in " ".join(sequence.notes)


GREY = (np.arange(32 * 48).reshape(32, 48) / (32 * 48 - 1)).astype(np.float32)
COLOR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)


def write_modes(path: Path, mode: str) -> tuple[Path, NDArray[np.float32], float]:
    """A picture stored in some way, what it shows, and how exact that is."""
    grey, color = to_bytes(GREY), to_bytes(COLOR)
    rgb = np.repeat(GREY[..., None], 3, axis=-1)
    if mode in ("L", "LA", "1"):
        image = Image.fromarray(grey).convert(mode)
        image.save(path)
        return path, (np.asarray(image.convert("RGB")) / 255).astype(np.float32), 1e-6
    if mode == "P":
        image = Image.fromarray(color).convert("P", palette=Image.Palette.ADAPTIVE)
        image.save(path)
        return path, COLOR, 0.08
    if mode == "CMYK":
        Image.fromarray(color).convert("CMYK").save(path.with_suffix(".tiff"))
        return path.with_suffix(".tiff"), COLOR, 0.01
    if mode == "16 bit grey":
        Image.fromarray(np.rint(GREY * 65535).astype(np.uint16)).save(path)
        return path, rgb, 1e-5
    if mode == "16 bit pgm":
        Image.fromarray(np.rint(GREY * 65535).astype(np.uint16)).save(path.with_suffix(".pgm"))
        return path.with_suffix(".pgm"), rgb, 1e-5
    if mode == "16 bit colour":
        cv2.imwrite(str(path), np.rint(COLOR[..., ::-1] * 65535).astype(np.uint16))
        return path, COLOR, 1e-5
    assert mode == "F"
    Image.fromarray(GREY).save(path.with_suffix(".tiff"))
    return path.with_suffix(".tiff"), rgb, 1e-6


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "16 bit grey", "16 bit pgm", "16 bit colour", "F"])
def test_every_depth_and_mode_is_scaled_rightly(tmp_path: Path, mode: str) -> None:
    folder = write_instant_ngp(tmp_path, SCENE)
    path, truth, worst = write_modes(folder / "images/x.png", mode)
    edit(folder / "transforms.json", lambda c: [f.update(file_path=f"images/{path.name}") for f in c["frames"]])
    found = open_sequence(folder).images("train", 1)
    assert np.abs(found - truth).mean() < worst


@pytest.mark.parametrize(
    ("image", "says"),
    [
        (Image.fromarray(np.full((32, 48), 7, np.int32)), "is of mode I, whose white is not known"),
        (Image.fromarray(np.full((32, 48), 7, np.float32)), "holds floats from 7 to 7; write them in 0..1"),
    ],
)
def test_what_has_no_white_is_refused_by_name(tmp_path: Path, image: Image.Image, says: str) -> None:
    folder = write_instant_ngp(tmp_path, SCENE)
    image.save(folder / "images/x.tiff")
    edit(folder / "transforms.json", lambda c: c["frames"][0].update(file_path="images/x.tiff"))
    with pytest.raises(DatasetError, match=rf"x\.tiff: {re.escape(says)}"):
        open_sequence(folder)


def silhouettes(scene: Scene, frame: int) -> NDArray[np.uint8]:
    """[C, H, W] 255 where box or ball are, of all cameras."""
    return np.where(scene.photograph(all_cameras(scene), frame)[1] > 0, 255, 0).astype(np.uint8)


def assert_masks(sequence: Sequence) -> None:
    assert not isinstance(sequence, MotionMasks)
    for frame in range(SCENE.num_frames):
        masks = sequence.masks("train", frame)
        assert masks is not None
        ids = sequence.cameras("train", frame).ids
        assert np.array_equal(masks > 0.5, silhouettes(SCENE, frame)[list(ids)] > 0)


@pytest.mark.parametrize("how", ["L", "RGB", "RGBA", "only alpha", "jpg"])
def test_mask_path_is_used(tmp_path: Path, how: str) -> None:
    folder = write_instant_ngp(tmp_path, SCENE)
    for frame in range(SCENE.num_frames):
        for camera, mask in enumerate(silhouettes(SCENE, frame)):
            if how == "only alpha":
                mask = np.stack([np.zeros_like(mask)] * 3 + [mask], axis=-1)
            elif how == "RGBA":
                mask = np.stack([mask] * 3 + [np.full_like(mask, 255)], axis=-1)
            elif how == "RGB":
                mask = np.stack([mask] * 3, axis=-1)
            path = folder / f"masks/{camera:02d}_{frame:03d}.{'jpg' if how == 'jpg' else 'png'}"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(mask).save(path, quality=100)
    suffix = ".jpg" if how == "jpg" else ".png"
    edit(
        folder / "transforms.json",
        lambda c: [
            f.update(mask_path=f["file_path"].replace("images", "masks").replace(".png", suffix)) for f in c["frames"]
        ],
    )
    assert_masks(open_sequence(folder))


@pytest.mark.parametrize("name", ["{stem}.png", "{stem}.png.png"])
def test_masks_beside_a_colmap_models_pictures(tmp_path: Path, name: str) -> None:
    folder = write_colmap(tmp_path, SCENE)
    for frame in range(SCENE.num_frames):
        for camera, mask in enumerate(silhouettes(SCENE, frame)):
            save(folder / f"masks/cam{camera:02d}" / name.format(stem=f"{frame:04d}"), mask)
    sequence = open_sequence(folder)
    assert_masks(sequence)
    assert any("masks/ is taken for the foreground" in note for note in sequence.notes)
    (folder / "masks/cam01" / name.format(stem="0001")).unlink()
    with pytest.raises(DatasetError, match="11 of 12 training pictures have a mask"):
        open_sequence(folder)


@pytest.mark.parametrize("name", ["nerf", "panoptic", "colmap"])
def test_alpha_channels_are_masks_and_opaque_ones_are_none(tmp_path: Path, name: str) -> None:
    folder = WRITERS[name](tmp_path, SCENE)
    if name == "panoptic":
        (folder / "seg").rename(folder / "not seg")
    pictures = [p for p in folder.rglob("*.png") if p.parts[-3] in ("ims", "images") or p.parts[-2] == "images"]
    for path in pictures:
        Image.open(path).convert("RGBA").save(path)
    assert isinstance(open_sequence(folder), MotionMasks)
    for path in pictures:
        image = np.array(Image.open(path))
        image[:, :20, 3] = 0
        Image.fromarray(image).save(path)
    sequence = open_sequence(folder)
    masks, shown = sequence.masks("train", 1), sequence.images("train", 1)
    assert masks is not None and (masks[:, :, 20:] == 1).all() and (masks[:, :, :20] == 0).all()
    assert (shown[:, :, :20] == 1).all()


# -- sizes and lenses --------------------------------------------------------------------------------------------------


def with_cameras(folder: Path, lines: list[str]) -> None:
    """A COLMAP camera of its own for each picture of the model."""
    model = folder / "sparse/0"
    (model / "cameras.txt").write_text("\n".join(f"{i + 1} {line}" for i, line in enumerate(lines)) + "\n")
    rows = [row.split() for row in (model / "images.txt").read_text().splitlines() if row.strip()]
    text = "".join(" ".join([*row[:8], str(i + 1), row[9]]) + "\n\n" for i, row in enumerate(rows))
    (model / "images.txt").write_text(text)


def test_cameras_of_slightly_different_sizes_are_cut_alike(tmp_path: Path) -> None:
    folder, lines = write_colmap(tmp_path, SCENE), []
    fx, fy, cx, cy = all_cameras(SCENE).intrinsics[0][(0, 1, 0, 1), (0, 1, 2, 2)]
    for i in range(4):
        w, h = 48 - i % 3, 32 - i % 2
        lines.append(f"PINHOLE {w} {h} {fx} {fy} {cx} {cy}")
        for path in (folder / f"images/cam{i:02d}").glob("*.png"):
            Image.open(path).crop((0, 0, w, h)).save(path)
    with_cameras(folder, lines)
    sequence = open_sequence(folder)
    assert (sequence.cameras("train", 0).width, sequence.cameras("train", 0).height) == (46, 31)
    assert_is_the_scene(sequence, SCENE)


def test_cameras_of_quite_different_sizes_and_shapes_show_the_same_scene(tmp_path: Path) -> None:
    folder, lines = tmp_path, []
    scene = SCENE
    write_colmap(folder, scene)
    for i, (w, h) in enumerate([(96, 64), (48, 32), (32, 48), (60, 32)]):
        one = all_cameras(scene).take([i])
        k = one.intrinsics[0] * np.array([[max(w, h) / 48], [max(w, h) / 48], [1]], np.float32)
        k[:2, 2] = w / 2, h / 2
        filmed = Cameras(one.world_to_camera, k[None], w, h, (i,))
        lines.append(f"PINHOLE {w} {h} {k[0, 0]} {k[1, 1]} {k[0, 2]} {k[1, 2]}")
        for frame in range(scene.num_frames):
            save(folder / f"images/cam{i:02d}/{frame:04d}.png", to_bytes(scene.photograph(filmed, frame)[0][0]))
    with_cameras(folder, lines)
    sequence = open_sequence(folder)
    cameras = sequence.cameras("train", 0)
    assert (cameras.width, cameras.height) == (32, 21)
    assert_is_the_scene(sequence, scene, 0.02)  # scaled by area, not filmed anew
    assert any("pictures are of 32×48, 48×32, 60×32, 96×64 pixels" in note for note in sequence.notes)


def test_pictures_may_be_scaled_after_the_calibration(tmp_path: Path) -> None:
    folder = write_colmap(tmp_path, SCENE)
    for path in (folder / "images").rglob("*.png"):
        Image.open(path).resize((24, 16), Image.Resampling.BOX).save(path)
    sequence = open_sequence(folder)
    assert sequence.cameras("train", 0).width == 24
    assert_is_the_scene(sequence, SCENE, 0.01)


def distorted(scene: Scene, frame: int) -> list[NDArray[np.uint8]]:
    """Pictures through OpenCV's lens (k1, k2, p1, p2 of `LENS`), by rays of each of its pixels."""
    cameras, (k1, k2, p1, p2) = all_cameras(scene), LENS
    middle = np.array([2 * scene.width, 2 * scene.height])
    width, height = (2 * middle).tolist()
    wide = Cameras(cameras.world_to_camera, cameras.intrinsics.copy(), width, height, cameras.ids)
    wide.intrinsics[:, :2, 2] = middle
    focal, center = cameras.intrinsics[0][(0, 1), (0, 1)], cameras.intrinsics[0][:2, 2]
    pixels = np.stack(np.meshgrid(np.arange(scene.width) + 0.5, np.arange(scene.height) + 0.5), axis=-1)
    bent = (pixels - center) / focal
    rays = bent.copy()
    for _ in range(100):  # the rays that the lens bends there
        r2, xy = (rays**2).sum(axis=-1), rays.prod(axis=-1)
        shift = np.stack(
            [2 * p1 * xy + p2 * (r2 + 2 * rays[..., 0] ** 2), p1 * (r2 + 2 * rays[..., 1] ** 2) + 2 * p2 * xy], -1
        )
        rays = (bent - shift) / (1 + k1 * r2 + k2 * r2**2)[..., None]
    places = (rays * focal + middle - 0.5).astype(np.float32)
    pictures = to_bytes(scene.photograph(wide, frame)[0])
    return [np.asarray(cv2.remap(picture, places, np.empty(0), cv2.INTER_CUBIC)) for picture in pictures]


BENT = Scene(num_frames=1, width=48, height=32, num_train=3, num_test=1)
LENS = np.array([-0.25, 0.08, 0.003, -0.002])


def bend_nerf(folder: Path, k: NDArray[np.float32]) -> None:
    edit(
        folder / "transforms.json",
        lambda c: c.update(camera_model="OPENCV", k1=LENS[0], k2=LENS[1], p1=LENS[2], p2=LENS[3]),
    )


def bend_colmap(folder: Path, k: NDArray[np.float32]) -> None:
    numbers = " ".join(map(str, [k[0, 0], k[1, 1], k[0, 2], k[1, 2], *LENS]))
    (folder / "sparse/0/cameras.txt").write_text(f"1 OPENCV 48 32 {numbers}\n")


def bend_panoptic(folder: Path, k: NDArray[np.float32]) -> None:
    for meta in ("train_meta.json", "test_meta.json"):
        edit(folder / meta, lambda c: c.update(distortion=[LENS.tolist()] * len(c["cam_id"][0])))


@pytest.mark.parametrize(("name", "bend"), [("nerf", bend_nerf), ("colmap", bend_colmap), ("panoptic", bend_panoptic)])
def test_distortion_is_undone(tmp_path: Path, name: str, bend: Callable[[Path, NDArray[np.float32]], None]) -> None:
    folder = WRITERS[name](tmp_path, BENT)
    pattern = {
        "nerf": "images/{c:02d}_{f:03d}.png",
        "colmap": "images/cam{c:02d}/{f:04d}.png",
        "panoptic": "ims/{c}/{f:06d}.png",
    }
    for frame in range(BENT.num_frames):
        for camera, picture in enumerate(distorted(BENT, frame)):
            save(folder / pattern[name].format(c=camera, f=frame), picture)
    assert_is_bent = open_sequence(folder)
    cameras, pictures = found_cameras(assert_is_bent, 0)
    before = np.abs(pictures - BENT.photograph(cameras, 0)[0]).mean()
    bend(folder, all_cameras(BENT).intrinsics[0])
    sequence = open_sequence(folder)
    assert_is_the_scene(sequence, BENT, 0.5 * before)
    assert any("Lenses are distorted (OPENCV)" in note for note in sequence.notes)


def test_videos_may_have_lenses_and_sizes_of_their_own(tmp_path: Path) -> None:
    folder = write_plain_videos(tmp_path, SCENE)
    edit(folder / "cameras.json", lambda c: c["cameras"][1].update(camera_model="OPENCV_FISHEYE", distortion=[0.0] * 4))
    sequence = open_sequence(folder)
    assert any("OPENCV_FISHEYE" in note for note in sequence.notes)
    edit(folder / "cameras.json", lambda c: c["cameras"][1].update(distortion=[0.0] * 4 + [1.0]))
    with pytest.raises(DatasetError, match="5 coefficients of distortion, a lens of model OPENCV_FISHEYE 4"):
        open_sequence(folder)


# -- positions ---------------------------------------------------------------------------------------------------------

FAR, POINT = np.array([512345.678, 130.5, 4812345.678]), np.array([0.25, 0.5, -0.125])


def move_nerf(folder: Path) -> None:
    def move(content: Any) -> None:
        for frame in content["frames"]:
            for row in range(3):
                frame["transform_matrix"][row][3] += FAR[row]

    edit(folder / "transforms.json", move)


def shifted(matrix: list[list[float]]) -> list[list[float]]:
    moved = np.array(matrix, np.float64)
    moved[:3, 3] -= moved[:3, :3] @ FAR
    return moved.tolist()


def move_panoptic(folder: Path) -> None:
    for meta in ("train_meta.json", "test_meta.json"):
        edit(folder / meta, lambda c: c.update(w2c=[[shifted(m) for m in row] for row in c["w2c"]]))
    cloud = np.array([[*(FAR + POINT), 0.1, 0.2, 0.3, 1]])
    np.savez(folder / "init_pt_cld.npz", data=cloud)


def move_videos(folder: Path) -> None:
    edit(folder / "cameras.json", lambda c: [one.update(w2c=shifted(one["w2c"])) for one in c["cameras"]])


def move_neu3d(folder: Path) -> None:
    rows = np.load(folder / "poses_bounds.npy")
    rows[:, (3, 8, 13)] += FAR
    np.save(folder / "poses_bounds.npy", rows)


@pytest.mark.parametrize(
    ("name", "move"), [("nerf", move_nerf), ("panoptic", move_panoptic), ("videos", move_videos), ("neu3d", move_neu3d)]
)
def test_map_coordinates_lose_nothing(tmp_path: Path, name: str, move: Callable[[Path], None]) -> None:
    folder = WRITERS[name](tmp_path, SCENE)
    near = open_sequence(folder)
    move(folder)
    sequence = open_sequence(folder)
    assert near.origin == (0, 0, 0) and np.abs(np.array(sequence.origin) - FAR).max() < 3
    point = np.array([0.1, -0.4, 0.2])

    def pixels(sequence: Sequence, at: NDArray[np.float64]) -> NDArray[np.float64]:
        cameras = found_cameras(sequence, 1)[0]
        in_camera = cameras.world_to_camera[:, :3].astype(np.float64) @ [*at, 1]
        seen = np.einsum("cij,cj->ci", cameras.intrinsics, in_camera)
        return np.asarray(seen[:, :2] / seen[:, 2:])

    assert np.abs(pixels(sequence, point + FAR - np.array(sequence.origin)) - pixels(near, point)).max() < 2e-3
    if name == "panoptic":
        assert sequence.initial_points is not None
        expected = FAR + POINT - np.array(sequence.origin)
        np.testing.assert_allclose(sequence.initial_points.positions[0], expected, atol=1e-6)
    assert any("far from the origin" in note for note in sequence.notes)


# -- rigs, times, choices ----------------------------------------------------------------------------------------------


def test_still_cameras_are_told_by_their_poses(tmp_path: Path) -> None:
    folder = write_instant_ngp(tmp_path, SCENE)
    rng = np.random.default_rng(0)

    def write_anew(content: Any) -> None:
        """In another order, with the noise of numbers written frame by frame."""
        rng.shuffle(content["frames"])
        for frame in content["frames"]:
            frame["transform_matrix"][0][3] += float(rng.normal()) * 1e-7

    edit(folder / "transforms.json", write_anew)
    sequence = open_sequence(folder)
    assert isinstance(sequence, MotionMasks) and not cameras_move(sequence)
    assert_is_the_scene(sequence, SCENE)


@pytest.mark.parametrize("unit", [1.0, 0.1, 1 / 30, 1000.0])
def test_times_within_half_a_frame_are_one_frame(tmp_path: Path, unit: float) -> None:
    folder, rng = write_instant_ngp(tmp_path, SCENE), np.random.default_rng(0)
    edit(
        folder / "transforms.json",
        lambda c: [f.update(time=unit * (f["time"] + float(rng.uniform(0, 0.2)))) for f in c["frames"]],
    )
    assert_is_the_scene(open_sequence(folder), SCENE)


def test_without_times_names_tell_the_order(tmp_path: Path) -> None:
    folder = write_instant_ngp(tmp_path, SCENE)
    edit(folder / "transforms.json", lambda c: [f.pop("time") for f in c["frames"]])
    sequence = open_sequence(folder)
    assert_is_the_scene(sequence, SCENE)
    assert any("in the order of their names" in note for note in sequence.notes)


CALLED = {
    "panoptic": "1",
    "nerf": "01",
    "neu3d": "cam01",
    "videos": "view1",
    "colmap": "cam01",
    "multipleview": "cam02",
}


@pytest.mark.parametrize("name", WRITERS)
def test_cameras_can_be_left_out_or_chosen_by_name(tmp_path: Path, name: str) -> None:
    folder = WRITERS[name](tmp_path, SCENE)
    left = open_sequence(folder, DatasetSettings(leave_out=(CALLED[name],)))
    assert sum(len(left.cameras(split, 0)) for split in ("train", "test")) == 3
    assert_is_the_scene(left, SCENE, CLOSE.get(name, 0.003))
    gone = all_cameras(SCENE).world_to_camera[1]
    assert not any(np.allclose(pose, gone, atol=1e-4) for pose in found_cameras(left, 0)[0].world_to_camera)
    others = tuple(str(i) for i in ((1, 2, 3) if name == "multipleview" else (0, 1, 2)))
    chosen = open_sequence(folder, DatasetSettings(cameras=others))
    assert_is_the_scene(chosen, SCENE, CLOSE.get(name, 0.003))
    assert sum(len(chosen.cameras(split, 0)) for split in ("train", "test")) == 3
    with pytest.raises(DatasetError, match="there is no camera 'nobody'"):
        open_sequence(folder, DatasetSettings(leave_out=("nobody",)))


@pytest.mark.parametrize("gone", [[2], [0], [1, 3], [5]])
def test_neural_3d_video_without_some_of_its_videos(tmp_path: Path, gone: list[int]) -> None:
    scene = Scene(num_frames=2, width=48, height=32, num_train=6, num_test=0)
    folder = write_neu3d(tmp_path, scene)
    for camera in gone:
        (folder / f"cam{camera:02d}.mp4").unlink()
    sequence = open_sequence(folder)
    assert_is_the_scene(sequence, scene, 0.03)
    assert any("no footage" in note for note in sequence.notes)


def test_llffs_own_layout_is_a_scene_at_one_moment(tmp_path: Path) -> None:
    scene = Scene(num_frames=1, width=48, height=32, num_train=6, num_test=0)
    folder = write_neu3d(tmp_path, scene)
    for camera, picture in enumerate(photograph(scene, 0)):
        (folder / f"cam{camera:02d}.mp4").unlink()
        save(folder / f"images/IMG_{camera + 8}.png", picture)
    assert_is_the_scene(open_sequence(folder), scene)


def test_a_few_missing_pictures_cost_their_frames_and_are_said(tmp_path: Path) -> None:
    scene = Scene(num_frames=24, width=32, height=24, num_train=2, num_test=1)
    panoptic = WRITERS["panoptic"](tmp_path / "panoptic", scene)
    (panoptic / "ims/1/000005.png").unlink()
    colmap = write_colmap(tmp_path / "colmap", scene)
    (colmap / "images/cam01/0005.png").unlink()
    nerf = write_instant_ngp(tmp_path / "nerf", scene)
    (nerf / "images/01_005.png").unlink()
    kept = [frame for frame in range(24) if frame != 5]
    for folder in (panoptic, colmap, nerf):
        sequence = open_sequence(folder)
        assert_is_the_scene(sequence, scene, frames=kept)
        assert any("1 of 24 frames lacks a picture and is left out" in note for note in sequence.notes)
    assert list(open_sequence(panoptic).frame_numbers) == kept
    for frame in (6, 7, 8):
        (panoptic / f"ims/1/{frame:06d}.png").unlink()
    with pytest.raises(DatasetError, match=r"000005\.png: is missing.*000006\.png: is missing.*leave its camera"):
        open_sequence(panoptic)


def test_camera_files_as_scripts_write_them(tmp_path: Path) -> None:
    folder = WRITERS["panoptic"](tmp_path, SCENE)
    changes: list[Callable[[Any], object]] = [
        lambda c: c.update(cam_id=[[str(i) for i in row] for row in c["cam_id"]]),
        lambda c: c.update(cam_id=c["cam_id"][0]),
        lambda c: c.update(w=float(c["w"]), h=str(c["h"])),
        lambda c: c.update(k=c["k"][0], w2c=c["w2c"][0]),
        lambda c: c.update(cam_id=[f"Bühne {i}" for i in c["cam_id"]]),
    ]
    for change in changes:  # one on top of the other
        for meta in ("train_meta.json", "test_meta.json"):
            edit(folder / meta, change)
        assert_is_the_scene(open_sequence(folder), SCENE)
    left = open_sequence(folder, DatasetSettings(leave_out=("bühne 0",)))
    assert len(left.cameras("train", 0)) == 2


def test_what_is_read_and_not_used_is_said_once(tmp_path: Path) -> None:
    folder = write_instant_ngp(tmp_path, SCENE)
    edit(folder / "transforms.json", lambda c: [f.update(depth_file_path="x", sharpness=3.0) for f in c["frames"]])
    notes = open_sequence(folder).notes
    assert notes == ("depth_file_path in transforms.json is read and not used.",)


def test_nerfstudios_lists_of_test_pictures_are_heeded(tmp_path: Path) -> None:
    folder = write_instant_ngp(tmp_path, SCENE)
    edit(
        folder / "transforms.json",
        lambda c: c.update(test_filenames=[f["file_path"] for f in c["frames"] if "/02_" in f["file_path"]]),
    )
    sequence = open_sequence(folder)
    assert len(sequence.cameras("train", 0)) == 3
    np.testing.assert_allclose(
        sequence.cameras("test", 1).world_to_camera[0], all_cameras(SCENE).world_to_camera[2], atol=1e-5
    )


def test_two_cameras_are_enough(tmp_path: Path) -> None:
    scene = Scene(num_frames=2, width=32, height=24, num_train=2, num_test=0)
    frames = [
        {"file_path": f"{i}_{f}.png", "time": float(f), "transform_matrix": camera_to_world(all_cameras(scene), i)}
        for f in range(2)
        for i in range(2)
    ]
    for frame in range(2):
        for camera, picture in enumerate(photograph(scene, frame)):
            save(tmp_path / f"{camera}_{frame}.png", picture)
    angle = float(2 * np.arctan(16 / all_cameras(scene).intrinsics[0, 0, 0]))
    write_json(tmp_path / "transforms.json", {"camera_angle_x": angle, "frames": frames})
    assert_is_the_scene(open_sequence(tmp_path), scene)


@pytest.mark.parametrize("name", ["nerf", "multipleview", "videos", "neu3d"])
def test_a_folder_of_masks_is_used_in_every_layout(tmp_path: Path, name: str) -> None:
    folder = WRITERS[name](tmp_path, SCENE)
    own = {
        "nerf": "{c:02d}_{f:03d}",
        "multipleview": "cam{n:02d}/frame_{m:05d}",
        "videos": "view{c}/m{f}",
        "neu3d": "cam{c:02d}/{f}",
    }
    for frame in range(SCENE.num_frames):
        for camera, mask in enumerate(silhouettes(SCENE, frame)):
            file = own[name].format(c=camera, n=camera + 1, f=frame, m=frame + 1)
            save(folder / f"masks/{file}.png", mask)
    sequence = open_sequence(folder)
    assert not isinstance(sequence, MotionMasks)
    masks = sequence.masks("train", 2)
    assert masks is not None
    numbers = [i - (name == "multipleview") for i in sequence.cameras("train", 2).ids]
    assert np.array_equal(masks > 0.5, silhouettes(SCENE, 2)[numbers] > 0)
    (folder / "masks").rename(folder / "seg")
    for path in list((folder / "seg").rglob("*.png")):
        path.rename(
            path.with_name(f"nobody{path.stem}.png") if name in ("nerf", "multipleview") else path.with_suffix(".x")
        )
    assert any("seg/ is not used" in note for note in open_sequence(folder).notes)
