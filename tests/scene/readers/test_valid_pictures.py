"""Pictures and masks of any depth, mode and turning, in every layout."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from legs4d.errors import DatasetError
from legs4d.scene.foreground import MotionMasks
from legs4d.scene.readers import open_sequence
from legs4d.scene.sequence import Sequence
from tests.scene.as_filmed import SCENE, WRITERS, assert_is_the_scene, edit
from tests.scene.readers.layouts import all_cameras, save, to_bytes, write_colmap, write_instant_ngp
from tests.synthetic import Scene, write_dataset


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
    sequence = open_sequence(folder)
    found = sequence.images("train", 1)
    assert np.abs(found - truth).mean() < worst
    for camera, picture in enumerate(found):
        assert np.array_equal(sequence.in_bytes("train", 1, camera), np.rint(picture * 255))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_edges_stay_in_range_where_a_lens_is_undone(tmp_path: Path, dtype: type, scale: float) -> None:
    """Black beside white, where cubic interpolation goes beyond both."""
    folder, white = write_instant_ngp(tmp_path, SCENE), 1 if dtype is np.float32 else np.iinfo(dtype).max
    Image.fromarray(((np.indices((32, 48)) // 3).sum(axis=0) % 2 * white).astype(dtype)).save(folder / "x.tiff")
    edit(folder / "transforms.json", lambda c: [f.update(file_path="x.tiff") for f in c["frames"]])
    edit(folder / "transforms.json", lambda c: c.update(k1=-0.12, k2=0.01))
    sequence = open_sequence(folder, scale)
    found = sequence.images("train", 1)
    assert found.min() >= 0 and found.max() <= 1 and found.max() - found.min() > 0.9
    for camera, picture in enumerate(found):
        assert np.array_equal(sequence.in_bytes("train", 1, camera), np.rint(picture * 255))


def test_floats_among_pictures_with_alpha_are_opaque(tmp_path: Path) -> None:
    folder = write_instant_ngp(tmp_path, SCENE)
    alpha = np.where(GREY > 0.5, 255, 0).astype(np.uint8)
    Image.fromarray(np.dstack([to_bytes(COLOR), alpha])).save(folder / "alpha.png")
    Image.fromarray(GREY).save(folder / "floats.tiff")
    files = ["alpha.png", "floats.tiff"]
    edit(folder / "transforms.json", lambda c: [f.update(file_path=files[i % 2]) for i, f in enumerate(c["frames"])])
    sequence = open_sequence(folder)
    masks = sequence.masks("train", 0)
    assert masks is not None
    shares = [float(mask.mean()) for mask in masks]
    assert shares.count(1.0) == len(shares) // 2 and min(shares) == pytest.approx(0.5, abs=0.01)
    opaque = sequence.images("train", 0)[[share == 1 for share in shares]]
    np.testing.assert_allclose(opaque, np.broadcast_to(GREY[..., None], opaque.shape), atol=1e-6)


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


@pytest.mark.parametrize("factor", [0.5, 2])
def test_masks_may_be_smaller_or_larger_than_their_pictures(tmp_path: Path, factor: float) -> None:
    """Shrunken pictures with the masks of the large ones, or masks that a program makes at half the size."""
    plain = write_dataset(tmp_path / "plain", SCENE)
    other = write_dataset(tmp_path / "other", SCENE)
    for path in [*(other / "seg").rglob("*.png"), *(other / "objects").rglob("*.png")]:
        with Image.open(path) as image:
            values = np.asarray(image)
        height, width = values.shape[0] * factor, values.shape[1] * factor
        save(path, np.asarray(Image.fromarray(values).resize((int(width), int(height)), Image.Resampling.NEAREST)))
    true, read = open_sequence(plain), open_sequence(other)
    for kind in ("masks", "objects"):
        expected, found = (getattr(sequence, kind)("train", 0) for sequence in (true, read))
        assert found.shape == expected.shape
        assert (found == expected).mean() > (0.999 if factor > 1 else 0.95)
    cut = next((other / "seg").rglob("*.png"))
    save(cut, np.ones((SCENE.height, SCENE.width - 2), np.uint8))
    with pytest.raises(DatasetError, match=rf"is {SCENE.width - 2}×{SCENE.height} pixels, its picture .*not cut"):
        open_sequence(other)


def test_what_masks_leave_is_cut_out_at_full_size(tmp_path: Path) -> None:
    """A red thing on white: at a third of its size, its edge is red with a share of alpha, and not pink."""
    scene = Scene(num_frames=1, width=66, height=48, num_train=3, num_test=1)
    folder = write_dataset(tmp_path / "film", scene, image_suffix=".png")
    for path in (folder / "ims").rglob("*.png"):
        picture = np.full((48, 66, 3), 255, np.uint8)
        picture[:, :20] = (200, 0, 0)
        Image.fromarray(picture).save(path)
    for path in (folder / "seg").rglob("*.png"):
        mask = np.zeros((48, 66), np.uint8)
        mask[:, :20] = 255
        Image.fromarray(mask).save(path)
    cut = open_sequence(folder, 1 / 3).cut("train", 0)
    assert cut is not None and cut.shape == (3, 16, 22, 4)
    np.testing.assert_allclose(cut[:, :, 6, 3], 2 / 3, atol=0.01)
    np.testing.assert_allclose(cut[:, :, 6, :3], np.broadcast_to([200 / 255, 0, 0], (3, 16, 3)), atol=0.01)
    assert open_sequence(folder).cut("test", 0) is None
