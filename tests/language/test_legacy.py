"""A finished folder of the original 4-LEGS becomes a run that says what the original said, to its numbers."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from legs4d.context import Context
from legs4d.errors import Legs4dError
from legs4d.gaussians.store.run import Run
from legs4d.gaussians.store.stage_records import RunDiffers
from legs4d.grounding import query
from legs4d.language.calibration import CAPTIONS
from legs4d.language.codec.linear import LinearCodec, codec_from_arrays
from legs4d.language.embedding.features import Calibration
from legs4d.language.field import LanguageField
from legs4d.language.legacy import import_4legs
from legs4d.progress import Stopped
from tests.synthetic import write_run

REFERENCE = Path(__file__).resolve().parents[3] / "shared/reference/legacy_4legs"
pytestmark = pytest.mark.skipif(not REFERENCE.exists(), reason="the reference files are not beside this checkout")

FRAMES, COUNT = 3, 120


class Phrases:
    """Embeds what the reference has embeddings of: one prompt and LERF's four canonical phrases."""

    name, dim, version = "viclip", 768, 0
    calibration: Calibration = replace(
        CAPTIONS, temperature=10.0, canonical=("object", "things", "stuff", "texture"), floor=1e-3
    )

    def __init__(self) -> None:
        with np.load(REFERENCE / "expected.npz", allow_pickle=False) as expected:
            self._known = dict(zip(("a prompt", *self.calibration.canonical), expected["phrases"], strict=True))

    def encode_text(self, phrases: list[str]) -> np.ndarray:
        return np.stack([self._known[phrase] for phrase in phrases])

    def feature_map(self, sequence, frame):
        raise NotImplementedError

    def sample_rows(self, sequence):
        raise NotImplementedError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return import_4legs(REFERENCE, "toy", tmp_path_factory.mktemp("legacy") / "run")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy that may be spoilt."""
    shutil.copytree(REFERENCE, tmp_path / "folder", copy_function=shutil.copyfile)
    for path in [tmp_path / "folder", *(tmp_path / "folder").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path / "folder"


def test_features_decode_to_those_of_the_original(run: Run):
    codec = codec_from_arrays(*run.codec())
    with np.load(REFERENCE / "expected.npz", allow_pickle=False) as expected:
        for frame in range(FRAMES):
            codes, confidence = run.moving_codes(frame)
            decoded = codec.decode(codes)
            # Stored in half precision here and there; the features' numbers are about 0.036.
            np.testing.assert_allclose(decoded, expected[f"decoded_{frame}"], atol=1e-4)
            assert codes.dtype == np.float16 and (confidence > 0).all()


def test_relevancy_is_that_of_the_original(run: Run):
    encoder = Phrases()
    field = LanguageField(run, encoder=encoder)
    with np.load(REFERENCE / "expected.npz", allow_pickle=False) as expected:
        for frame in range(FRAMES):
            found = field.moving(frame, encoder.encode_text(["a prompt"])).values[:, 0]
            np.testing.assert_allclose(found, expected[f"relevancy_{frame}"], atol=5e-5)


def test_geometry_is_that_of_dynamic_3dgs(run: Run):
    with np.load(REFERENCE / "output/pretrained/toy/params.npz", allow_pickle=False) as params:
        for frame in range(FRAMES):
            gaussians = run.frame(frame)
            np.testing.assert_array_equal(gaussians.means, params["means3D"][frame])
            np.testing.assert_allclose(gaussians.rgb, params["rgb_colors"][frame], atol=1e-6)
            np.testing.assert_allclose(gaussians.scales, np.exp(params["log_scales"]), rtol=1e-6)
            np.testing.assert_allclose(np.linalg.norm(gaussians.quats, axis=1), 1, rtol=1e-5)
    assert (run.num_frames, run.num_static, run.num_dynamic) == (FRAMES, 0, COUNT)
    assert run.info["encoder"] == "viclip"


def test_prompts_are_answered(run: Run):
    (found,) = query(Run.open(run.path), ["a prompt"], encoder=Phrases())
    with np.load(REFERENCE / "expected.npz", allow_pickle=False) as expected:
        most = max(float(expected[f"relevancy_{frame}"].max()) for frame in range(FRAMES))
    # The reference's prompt fits nothing better than the canonical phrases do, and that is what is answered.
    assert most < 0.5 and found.intervals == []
    assert found.frame(0).shape == (COUNT,) and not found.frame(0).any()


def test_a_linear_codec_can_take_the_autoencoders_place(run: Run, tmp_path: Path):
    linear = import_4legs(REFERENCE, "toy", tmp_path / "run", linear=64)
    codec = codec_from_arrays(*linear.codec())
    assert isinstance(codec, LinearCodec) and codec.code_dim == 64 and codec.energy > 0.97
    encoder = Phrases()
    with np.load(REFERENCE / "expected.npz", allow_pickle=False) as expected:
        for frame in range(FRAMES):
            found = LanguageField(linear, encoder=encoder).moving(frame, encoder.encode_text(["a prompt"])).values
            np.testing.assert_allclose(found[:, 0], expected[f"relevancy_{frame}"], atol=0.02)


def test_an_import_that_was_stopped_goes_on(run: Run, tmp_path: Path):
    class After:
        def __init__(self, steps: int) -> None:
            self.left = steps

        def is_set(self) -> bool:
            self.left -= 1
            return self.left < 0

    for steps in (1, FRAMES + 2):  # within the geometry, within the language
        with pytest.raises(Stopped):
            import_4legs(REFERENCE, "toy", tmp_path / "run", Context(stop=After(steps)))
    done = Run.open(tmp_path / "run").stages["lift"].done_frames
    assert 0 < len(done) < FRAMES
    again = import_4legs(REFERENCE, "toy", tmp_path / "run")
    for frame in range(FRAMES):
        np.testing.assert_array_equal(again.moving_codes(frame)[0], run.moving_codes(frame)[0])
    before = (tmp_path / "run/run.zarr/dynamic/codes").stat().st_mtime_ns
    import_4legs(REFERENCE, "toy", tmp_path / "run")
    assert (tmp_path / "run/run.zarr/dynamic/codes").stat().st_mtime_ns == before


class Code:
    """What torch.load or np.load would run if they were let."""

    def __reduce__(self):
        return (Path.touch, (Path("/tmp/legs4d-legacy-executed"),))


def change(path: Path, **arrays: object) -> None:
    with np.load(path, allow_pickle=False) as archive:
        content = dict(archive)
    np.savez(path, **{key: value for key, value in {**content, **arrays}.items() if value is not None})


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


LEGS = "output/4legs/toy"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda f: shutil.rmtree(f / "output"), "has no output/"),
        (lambda f: (f / LEGS / "params_1.npz").unlink(), "has no params_1.npz"),
        (lambda f: (f / LEGS / "attn_0.pth").unlink(), "has no attn_0.pth"),
        (lambda f: [p.unlink() for p in (f / LEGS).glob("*_2.*")], "2 frames, the geometry 3"),
        (lambda f: (f / "ae/best_ckpt.pth").unlink(), "is missing"),
        (lambda f: (f / "output/pretrained/toy/params.npz").unlink(), "has no output/"),
        (lambda f: cut(f / LEGS / "params_0.npz"), "params_0.npz: cannot be read"),
        (lambda f: cut(f / LEGS / "params_2.npz"), "params_2.npz: cannot be read"),
        (lambda f: cut(f / LEGS / "attn_1.pth"), "attn_1.pth: is damaged"),
        (lambda f: cut(f / "ae/best_ckpt.pth"), "best_ckpt.pth: is no autoencoder"),
        (lambda f: cut(f / "output/pretrained/toy/params.npz"), "params.npz: cannot be read"),
        (lambda f: torch.save({"query.weight": Code()}, f / LEGS / "attn_0.pth"), "more than tensors"),
        (lambda f: torch.save({"query.weight": torch.zeros(2)}, f / LEGS / "attn_0.pth"), "no attention"),
        (lambda f: torch.save([1], f / LEGS / "attn_0.pth"), "no attention"),
        (lambda f: change(f / LEGS / "params_0.npz", legs_features=np.array([Code()], object)), "cannot be read"),
        (lambda f: change(f / LEGS / "params_0.npz", legs_features=None), "cannot be read"),
        (lambda f: change(f / LEGS / "params_0.npz", legs_features=np.zeros((1, 120, 64))), "expected .1, N, 128."),
        (lambda f: change(f / LEGS / "params_0.npz", neighbor_indices=np.full((1, 120, 21), 120)), "beyond the 120"),
        (lambda f: change(f / LEGS / "params_0.npz", neighbor_indices=np.zeros((1, 7, 21), int)), "neighbor_indices"),
        (lambda f: change(f / LEGS / "params_0.npz", legs_features=np.full((1, 120, 128), np.nan)), "not finite"),
        (
            lambda f: change(f / "output/pretrained/toy/params.npz", log_scales=np.zeros((7, 3))),
            r"means3D is \(3, 120, 3\), expected \(3, 7, 3\)",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(folder: Path, tmp_path: Path, spoil, said: str):
    spoil(folder)
    with pytest.raises(Legs4dError, match=said) as caught:
        import_4legs(folder, "toy", tmp_path / "run")
    if "_1" not in said and "_2" not in said:  # what only a later frame shows is found when its turn comes
        assert not (tmp_path / "run").exists()
    assert str(caught.value).count("\n") == 0
    assert not Path("/tmp/legs4d-legacy-executed").exists()


def test_names_are_told_and_other_runs_left_alone(folder: Path, tmp_path: Path):
    with pytest.raises(Legs4dError, match="name one of toy"):
        import_4legs(folder, "basketball", tmp_path / "run")
    with pytest.raises(Legs4dError, match="is not a folder"):
        import_4legs(folder / "missing", "toy", tmp_path / "run")
    shutil.copytree(folder / "output/4legs", folder / "output/again")
    with pytest.raises(Legs4dError, match="output/4legs/toy, output/again/toy; leave the one"):
        import_4legs(folder, "toy", tmp_path / "run")
    shutil.rmtree(folder / "output/again")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious").write_text("")
    with pytest.raises(Legs4dError, match="is not empty"):
        import_4legs(folder, "toy", tmp_path / "other")
    write_run(tmp_path / "trained", language=False)
    with pytest.raises(RunDiffers, match="made by: synthetic → import of Dynamic3DGS"):
        import_4legs(folder, "toy", tmp_path / "trained")
