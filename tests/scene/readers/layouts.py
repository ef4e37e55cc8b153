"""The synthetic scene in the layouts of other people's datasets, written as their tools write them."""

from __future__ import annotations

import json
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.transform import Rotation

from legs4d.scene.camera import Cameras
from tests.synthetic import FPS, Scene

FLIP = np.diag([1.0, -1.0, -1.0, 1.0])
"""OpenCV's camera axes to OpenGL's."""


def all_cameras(scene: Scene) -> Cameras:
    """Training and test cameras, by number."""
    train, test = scene.cameras("train"), scene.cameras("test")
    order = np.argsort([*train.ids, *test.ids])
    return Cameras(
        np.concatenate([train.world_to_camera, test.world_to_camera])[order],
        np.concatenate([train.intrinsics, test.intrinsics])[order],
        scene.width,
        scene.height,
        tuple(range(len(order))),
    )


@lru_cache(maxsize=16)
def photograph(scene: Scene, frame: int) -> NDArray[np.uint8]:
    """[C, H, W, 3] of all cameras."""
    return to_bytes(scene.photograph(all_cameras(scene), frame)[0])


def to_bytes(picture: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.rint(picture * 255).astype(np.uint8)


def save(path: Path, picture: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def encode(path: Path, pictures: list[NDArray[np.uint8]], fps: float = FPS) -> None:
    """An H.264 video with keyframes four frames apart, and B-frames, as cameras write them."""
    height, width = pictures[0].shape[:2]
    options = ["-g", "4", "-bf", "2", "-vf", "scale=out_color_matrix=bt709", "-colorspace", "bt709", "-crf", "4"]
    writer = imageio_ffmpeg.write_frames(
        str(path), (width, height), fps=fps, macro_block_size=2, quality=None, output_params=options
    )
    writer.send(None)
    for picture in pictures:
        writer.send(np.ascontiguousarray(picture))
    writer.close()


def write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def camera_to_world(cameras: Cameras, index: int) -> list[list[float]]:
    """OpenGL, as Blender exports it."""
    return (np.linalg.inv(cameras.world_to_camera[index].astype(np.float64)) @ FLIP).tolist()


def with_alpha(scene: Scene, cameras: Cameras, frame: int) -> NDArray[np.uint8]:
    """[C, H, W, 4]: box and ball, all else transparent."""
    images, ids = scene.photograph(cameras, frame)
    return np.concatenate([to_bytes(images), np.where(ids > 0, 255, 0).astype(np.uint8)[..., None]], axis=-1)


def write_d_nerf(folder: Path, scene: Scene) -> Path:
    """D-NeRF: one moving camera, pictures with alpha, names without suffix, times from 0 to 1; test times between."""
    cameras = scene.cameras("train")
    angle = float(2 * np.arctan(scene.width / 2 / cameras.intrinsics[0, 0, 0]))
    train = []
    for frame in range(scene.num_frames):
        camera = cameras.take([frame % len(cameras)])
        save(folder / f"train/r_{frame:03d}.png", with_alpha(scene, camera, frame)[0])
        pose = camera_to_world(camera, 0)
        time = frame / (scene.num_frames - 1)
        train.append({"file_path": f"./train/r_{frame:03d}", "time": time, "rotation": 0.1, "transform_matrix": pose})
    test_camera = scene.cameras("test").take([0])
    save(folder / "test/r_000.png", with_alpha(scene, test_camera, 2)[0])
    time = 2.2 / (scene.num_frames - 1)
    test = [{"file_path": "./test/r_000", "time": time, "transform_matrix": camera_to_world(test_camera, 0)}]
    write_json(folder / "transforms_train.json", {"camera_angle_x": angle, "frames": train})
    write_json(folder / "transforms_test.json", {"camera_angle_x": angle, "frames": test})
    return folder


def write_instant_ngp(folder: Path, scene: Scene) -> Path:
    """instant-ngp and nerfstudio: one file, intrinsics in pixels, opaque pictures, many cameras at each time."""
    cameras = all_cameras(scene)
    k = cameras.intrinsics[0]
    frames = []
    for frame in range(scene.num_frames):
        for i, picture in enumerate(photograph(scene, frame)):
            name = f"images/{i:02d}_{frame:03d}.png"
            save(folder / name, picture)
            frames.append({"file_path": name, "time": float(frame), "transform_matrix": camera_to_world(cameras, i)})
    lens = {"fl_x": k[0, 0], "fl_y": k[1, 1], "cx": k[0, 2], "cy": k[1, 2], "w": scene.width, "h": scene.height}
    content = {**{name: float(v) for name, v in lens.items()}, "w": scene.width, "h": scene.height, "k1": 0.0}
    write_json(folder / "transforms.json", {**content, "fps": FPS, "frames": frames})
    return folder


def write_neu3d(folder: Path, scene: Scene, *, shrink: int = 2) -> Path:
    """Neural 3D Video: LLFF poses for the full pictures, videos smaller by `shrink`."""
    cameras = all_cameras(scene)
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(len(cameras)):
        pose = np.linalg.inv(cameras.world_to_camera[i].astype(np.float64))
        right, down, forward, center = pose[:3, :4].T
        focal = cameras.intrinsics[i, 0, 0] * shrink
        hwf = np.array([scene.height * shrink, scene.width * shrink, focal])
        rows.append([*np.stack([down, right, -forward, center, hwf], axis=1).ravel(), 1.0, 20.0])
    np.save(folder / "poses_bounds.npy", np.array(rows))
    write_videos(folder, scene, "cam{:02d}.mp4")
    return folder


def write_videos(folder: Path, scene: Scene, name: str) -> None:
    cameras = all_cameras(scene)
    pictures = [photograph(scene, frame) for frame in range(scene.num_frames)]
    for i in range(len(cameras)):
        encode(folder / name.format(i), [frame[i] for frame in pictures])


def write_plain_videos(folder: Path, scene: Scene) -> Path:
    """A folder of videos with cameras.json, calibrated on pictures of twice the size."""
    cameras = all_cameras(scene)
    folder.mkdir(parents=True, exist_ok=True)
    write_videos(folder, scene, "view{}.mp4")
    test = scene.cameras("test").ids
    entries = []
    for i in range(len(cameras)):
        k = cameras.intrinsics[i].copy()
        k[:2] *= 2
        entry = {"id": i, "video": f"view{i}.mp4", "k": k.tolist(), "w2c": cameras.world_to_camera[i].tolist()}
        entries.append({**entry, "test": True} if i in test else entry)
    write_json(folder / "cameras.json", {"w": 2 * scene.width, "h": 2 * scene.height, "cameras": entries})
    return folder


def write_colmap(
    folder: Path, scene: Scene, *, pictures: str = "cam{camera:02d}/{frame:04d}.png", moments: int = 1
) -> Path:
    """COLMAP's text model, of the first `moments` frames, and pictures under images/."""
    cameras = all_cameras(scene)
    for frame in range(scene.num_frames):
        for i, picture in enumerate(photograph(scene, frame)):
            save(folder / "images" / pictures.format(camera=i, frame=frame), picture)
    model = folder / "sparse/0"
    model.mkdir(parents=True)
    fx, fy, cx, cy = cameras.intrinsics[0][(0, 1, 0, 1), (0, 1, 2, 2)]
    size = f"{scene.width} {scene.height}"
    (model / "cameras.txt").write_text(f"1 PINHOLE {size} {fx} {fy} {cx} {cy}\n")
    lines = []
    for frame in range(moments):
        for i, matrix in enumerate(cameras.world_to_camera.astype(np.float64)):
            quat = Rotation.from_matrix(matrix[:3, :3]).as_quat(scalar_first=True)
            numbers = " ".join(f"{v:.9f}" for v in [*quat, *matrix[:3, 3]])
            number = 1 + frame * len(cameras) + i
            lines.append(f"{number} {numbers} 1 {pictures.format(camera=i, frame=frame)}\n\n")
    (model / "images.txt").write_text("".join(lines))
    floor = [(x, 0.0, z) for x in (-1.5, 0.0, 1.5) for z in (-1.5, 1.5)]
    text = "".join(f"{n + 1} {x} {y} {z} 120 110 90 0.5\n" for n, (x, y, z) in enumerate(floor))
    (model / "points3D.txt").write_text(text)
    return folder


def write_multipleview(folder: Path, scene: Scene) -> Path:
    """4DGaussians' multipleview: a folder of pictures per camera, cam01 first; a model of image1.jpg, image2.jpg, …"""
    cameras = all_cameras(scene)
    for frame in range(scene.num_frames):
        for i, picture in enumerate(photograph(scene, frame)):
            save(folder / f"cam{i + 1:02d}/frame_{frame + 1:05d}.png", picture)
    one = write_colmap(folder / "colmap_tmp", Scene(1, scene.width, scene.height, scene.num_train, scene.num_test))
    (one / "sparse/0").rename(folder / "sparse_")
    shutil.rmtree(folder / "colmap_tmp")
    text = (folder / "sparse_/images.txt").read_text()
    for i in range(len(cameras)):
        text = text.replace(f"cam{i:02d}/0000.png", f"image{i + 1}.jpg")
    (folder / "sparse_/images.txt").write_text(text)
    return folder


def write_nerfies(folder: Path, scene: Scene) -> Path:
    """Nerfies, as DyCheck has it: several cameras at a time, a file a picture that says how it was taken."""
    cameras, train = all_cameras(scene), len(scene.cameras("train"))
    names: dict[bool, list[str]] = {True: [], False: []}
    metadata = {}
    for frame in range(scene.num_frames):
        for i, picture in enumerate(photograph(scene, frame)):
            name = f"{i}_{frame:05d}"
            names[i < train].append(name)
            metadata[name] = {"warp_id": frame, "camera_id": i, "appearance_id": frame}
            save(folder / f"rgb/1x/{name}.png", picture)
            turn, k = cameras.world_to_camera[i].astype(np.float64), cameras.intrinsics[i]
            camera = {
                "orientation": turn[:3, :3].tolist(),
                "position": (-turn[:3, :3].T @ turn[:3, 3]).tolist(),
                "focal_length": float(k[0, 0]),
                "principal_point": [float(k[0, 2]), float(k[1, 2])],
                "image_size": [scene.width, scene.height],
            }
            write_json(folder / f"camera/{name}.json", camera)
    write_json(folder / "metadata.json", metadata)
    write_json(folder / "dataset.json", {"ids": list(metadata), "train_ids": names[True], "val_ids": names[False]})
    write_json(folder / "extra.json", {"fps": FPS})
    return folder
