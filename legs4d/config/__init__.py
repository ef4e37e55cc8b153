"""Every setting, with its source: one model per stage, one home per number.

What a run was made with is kept in it, setting by setting (`gaussians.stage_records`).
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from legs4d.config.base import LearningRates, Settings, merged
from legs4d.config.deform import DeformSettings
from legs4d.config.language import ENSEMBLE as ENSEMBLE
from legs4d.config.language import AutoencoderSettings as AutoencoderSettings
from legs4d.config.language import CodecSettings as CodecSettings
from legs4d.config.language import ExtractSettings, LiftSettings
from legs4d.config.language import QuerySettings as QuerySettings
from legs4d.config.language import TrainedLiftSettings as TrainedLiftSettings

Preset = Literal["quick", "full"]


class DatasetSettings(Settings):
    """How footage is read."""

    scale: float = Field(default=1.0, gt=0, le=1)
    """Images are resized to round(scale·W) × round(scale·H) by area averaging (docs/conventions.md)."""
    cameras: tuple[str, ...] = ()
    """Names or numbers of the cameras to read; none: all."""
    leave_out: tuple[str, ...] = ()
    """Names or numbers of cameras not to read."""
    offsets: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(default_factory=dict)
    """Camera → seconds by which its video was begun later than those of the others; where given, 0 of all others."""
    align: Literal["sound", "motion"] | None = None
    """Have the offsets that are not given found: by the videos' sound, or by how much moves in their pictures."""


FEWEST_POINTS = 64
"""Of the foreground and of the background each, however small the footage: fewer do not surround a scene."""

SMALL_AVERAGING = 0.98
"""`averaging` where there are fewer pixels than enough: with few cameras, where Gaussians end up depends on the last
few of them that were looked through; 4 cameras of 96×64 gain 5 dB on others, 8 gain 0.2, 27 of 32×18 lose 0.2."""


class PixelSettings(Settings):
    """Of work whose size follows the pixels of the footage: its numbers are those for footage with enough of them."""

    enough_pixels: int = Field(default=60_000, gt=0)
    """In the training pictures of a frame, all cameras together. With fewer there are fewer Gaussians in proportion,
    never more than one for four pixels, and fewer steps, by the square root: what pixels do not determine, further
    Gaussians and further steps fill with what no other view bears out (docs/experiments/small-footage.md). 1: always
    the numbers as they stand."""

    def share(self, pixels: int) -> float:
        """0..1, of the pixels that are enough."""
        return min(1.0, pixels / self.enough_pixels)


def fewer(number: int, share: float, least: int = 1) -> int:
    """This share of a number, but `least` if the number itself is not less."""
    return min(number, max(least, round(number * share)))


class DensifySettings(Settings):
    """Adding and removing Gaussians while the first frame is fitted."""

    every: int = Field(default=50, gt=0)
    """Steps between rounds."""
    start: float = Field(default=0.1, ge=0, le=1)
    """First round, as a share of all steps."""
    stop: float = Field(default=0.7, ge=0, le=1)
    """Last round, as a share of all steps."""
    max_gaussians: int = Field(default=15_000, gt=0)
    """No more are added than make so many."""
    split_above: float = 0.01
    """Gaussians wider than this share of the radius are split, narrower ones cloned (Kerbl et al.: 1 %)."""
    max_scale: float = Field(default=0.35, gt=0)
    """Wider than this share of the radius: removed, and after the last round of the first frame made so wide again."""
    min_opacity: float = 0.01
    """Fainter: removed."""

    def suited(self, share: float) -> DensifySettings:
        """Those for footage with this share of the pixels that are enough; as many rounds in fewer steps."""
        return self.model_copy(
            update={
                "max_gaussians": fewer(self.max_gaussians, share, 2 * FEWEST_POINTS),
                "every": fewer(self.every, share**0.5),
            }
        )


class FirstFrameSettings(PixelSettings):
    """Fitting all Gaussians to the first frame."""

    steps: int = Field(default=420, gt=0)
    """Of Adam, each of a few cameras."""
    cameras_per_step: int = Field(default=5, gt=0)
    """Pictures that each step compares."""
    num_foreground: int = Field(default=3000, gt=0)
    """Points of the foreground to start from when the dataset ships none."""
    num_background: int = Field(default=7000, gt=0)
    """Points of the background, likewise."""
    rates: LearningRates = LearningRates(means=8e-4, quats=2e-3, scales=1e-2, colors=1e-2)
    """Higher than for the tens of thousands of steps of Kerbl et al., as there are few."""
    means_decay: float = 0.02
    """The rate of the means falls to this share, exponentially."""
    camera_rate: float = 1e-3
    """Step size of the per-camera colour gains and offsets."""
    vignette_rate: float = Field(default=0.0, ge=0)
    """Step size of the falloff of light towards the corners, which all cameras share; 0: there is none."""
    ssim_share: float = 0.2
    """0.8 · L1 + 0.2 · (1 - SSIM), as Kerbl et al."""
    segmentation_weight: float = 3.0
    """Times the loss of the foreground's mask (Dynamic3DGS)."""
    opaque_weight: float = 0.5
    """Times the mean of 1 - alpha: a room leaves no ray without an end. (With the near plane: 28 dB instead of 22.)"""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the Gaussians left out of each step, so that each must be right by itself, not by what others in front
    of it take back (DropGaussian, Park et al. 2025)."""
    opacity_weight: float = Field(default=0.0, ge=0)
    """Times the mean opacity: what no picture asks for fades, and is removed (3DGS-MCMC, Kheradmand et al. 2024)."""
    scale_weight: float = Field(default=0.0, ge=0)
    """Times the mean scale in radii, likewise."""
    background_frames: int = Field(default=0, ge=0)
    """Later frames, evenly spread, that show the background where the first does not; their median has no noise."""
    background_share: float = Field(default=1 / 3, ge=0, le=1)
    """Of the steps, those that look at the background alone in these frames, not at the first."""
    averaging: float = Field(default=0.0, ge=0, lt=1)
    """Share of itself that the running mean of the parameters, which is the result, keeps in each step after the last
    round of densification; 0: the result is where the last step ends."""
    densify: DensifySettings = DensifySettings()
    seed: int = 0
    """Of all that is drawn at random."""

    def suited(self, pixels: int) -> FirstFrameSettings:
        """Those for footage with so many pixels in the training pictures of a frame."""
        share = self.share(pixels)
        return self.model_copy(
            update={
                "enough_pixels": 1,
                "steps": fewer(self.steps, share**0.5),
                "num_foreground": fewer(self.num_foreground, share, FEWEST_POINTS),
                "num_background": fewer(self.num_background, share, FEWEST_POINTS),
                "densify": self.densify.suited(share),
                "averaging": self.averaging if share == 1 else max(self.averaging, SMALL_AVERAGING),
            }
        )


class NodeSettings(Settings):
    """The coarse half of tracking: nodes that carry the Gaussians around them."""

    steps: int = Field(default=18, ge=0)
    """0 leaves it out."""
    count: int = Field(default=300, gt=0)
    """Nodes."""
    bindings: int = Field(default=3, gt=0)
    """Nodes that carry a Gaussian."""
    shift_rate: float = 0.012
    """Adam's step size of places, times the stage's radius."""
    turn_rate: float = 0.03
    """Of rotations."""
    decay: float = 0.06
    """Both rates fall to this share."""


class MotionRates(Settings):
    """Adam's step sizes for what may change from frame to frame."""

    means: float = 1e-3
    """Times the stage's radius."""
    quats: float = 4e-3
    """Of rotations."""
    colors: float = 1e-3
    """Of the SH DC coefficients."""


class ClipFitSettings(PixelSettings):
    """A fit to frames from all over the clip, once what moves is known: what does not change must suit them all."""

    steps: int = Field(default=0, ge=0)
    """0 leaves it out."""
    cameras_per_step: int = Field(default=9, gt=0)
    """Pictures that each step compares."""
    rates: LearningRates = LearningRates(means=7e-5, quats=6e-4, scales=3e-3, opacities=0.015, colors=3e-3)
    """About a third of the first frame's, the means' less."""
    decay: float = 0.05
    """All rates fall to this share, exponentially."""
    ssim_share: float = 0.2
    """As in the first frame."""
    segmentation_weight: float = 1.0
    """As in the first frame."""
    opaque_weight: float = 0.5
    """As in the first frame."""
    dropout: float = Field(default=0.2, ge=0, lt=1)
    """As in the first frame."""
    opacity_weight: float = Field(default=0.02, ge=0)
    """As in the first frame."""
    scale_weight: float = Field(default=0.2, ge=0)
    """As in the first frame."""
    max_scale: float = Field(default=0.35, gt=0)
    """Wider than this share of the radius: made so wide again, as in the first frame."""
    averaging: float = Field(default=0.98, ge=0, lt=1)
    """As in the first frame; the running mean is of the last third of the steps."""
    seed: int = 0
    """Of all that is drawn at random."""

    def suited(self, pixels: int) -> Self:
        """Those for footage with so many pixels in the training pictures of a frame."""
        return self.model_copy(update={"enough_pixels": 1, "steps": fewer(self.steps, self.share(pixels) ** 0.5)})


class RefinementSettings(ClipFitSettings):
    """Looking again at all frames, once all else is found."""

    frames: int = Field(default=12, gt=0)
    """Evenly spread; their pictures are held on the device."""


class BirthSettings(Settings):
    """What a clip reveals after its first frame, and what disappears, found once its motion is known."""

    frames: int = Field(default=10, ge=0)
    """Evenly spread, in which that is looked for, and between which colours change linearly; 0 leaves it out."""
    most: float = Field(default=0.5, ge=0)
    """Gaussians that may be born, as a share of those of the first frame."""
    light: bool = True
    """Whether colours may change in time, as shadows pass and things turn in the light."""
    ends: bool = True
    """Whether Gaussians end that pictures contradict from some frame on."""
    fit: ClipFitSettings = ClipFitSettings(
        steps=160,
        cameras_per_step=3,
        rates=LearningRates(means=6e-4, quats=1.8e-3, scales=0.02, opacities=0.3, colors=0.015),
        decay=0.1,
        dropout=0.0,
        opacity_weight=0.0,
        scale_weight=0.0,
        averaging=0.95,
    )
    """Of the new ones, of the static ones, and of the shapes of all, to these frames."""

    def suited(self, pixels: int) -> BirthSettings:
        """Those for footage with so many pixels in the training pictures of a frame."""
        return self.model_copy(update={"fit": self.fit.suited(pixels)})


class TrackingSettings(Settings):
    """Following the moving Gaussians from frame to frame (Luiten et al. 2024)."""

    nodes: NodeSettings = NodeSettings()
    steps: int = Field(default=14, gt=0)
    """Of the fine half, Gaussian by Gaussian."""
    cameras_per_step: int = Field(default=4, gt=0)
    """Pictures that each step compares."""
    rates: MotionRates = MotionRates()
    """Few steps of many cameras instead of 2000 of one; scales and opacities are frozen."""
    means_decay: float = 0.1
    """The rate of the means falls to this share, exponentially."""
    ssim_share: float = 0.2
    """As in the first frame."""
    segmentation_weight: float = 3.0
    """As in the first frame."""
    rigid_weight: float = 4.0
    """Of Dynamic3DGS, as the next four: neighbours move as one rigid body."""
    rotation_weight: float = 4.0
    """Neighbours turn alike."""
    isometry_weight: float = 2.0
    """Neighbours keep their distances to those of the first frame."""
    floor_weight: float = 2.0
    """Nothing sinks below the floor."""
    color_weight: float = 0.01
    """Colours stay. The background weight has no counterpart: what does not move is not optimised."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """As in the first frame."""
    averaging: float = Field(default=0.0, ge=0, lt=1)
    """As in the first frame; the running mean is of the fine half's second half."""
    neighbours: int = 20
    """Gaussians that each is held together with."""
    neighbour_decay: float = 2000.0
    """λ of the neighbours' weights exp(-λ d²), d in metres; less where Gaussians are sparse (`SPARSE_WEIGHT`)."""
    objects: bool = True
    """Where object masks tell them apart, each holds together, and is looked for where its masks are."""
    seed: int = 0
    """Of all that is drawn at random."""


class ChunkSettings(Settings):
    """Tracking by several workers at once (`reconstruct.chunks`)."""

    length: int = Field(default=0, ge=0)
    """Frames that are tracked in a row; 0: all of them, so one worker tracks at a time."""
    overlap: int = Field(default=3, ge=0)
    """Frames before its own by which a chunk begins early, to settle from where the scout left the Gaussians."""
    scout: TrackingSettings = TrackingSettings(nodes=NodeSettings(steps=12), steps=6, cameras_per_step=4)
    """Half the work of the defaults of tracking."""

    @model_validator(mode="after")
    def _has_room(self) -> ChunkSettings:
        if self.length and self.length < self.overlap + 2:
            raise ValueError(f"a chunk of {self.length} frames is too short for an overlap of {self.overlap}")
        return self


class ReconstructSettings(Settings):
    """From footage to dynamic Gaussians."""

    first_frame: FirstFrameSettings = FirstFrameSettings()
    tracking: TrackingSettings = TrackingSettings()
    births: BirthSettings = BirthSettings()
    refinement: RefinementSettings = RefinementSettings()
    chunks: ChunkSettings = ChunkSettings()

    def suited(self, pixels: int) -> ReconstructSettings:
        """Those for footage with so many pixels in the training pictures of a frame; suiting them again changes
        nothing. Tracking keeps its steps: how far a thing goes from frame to frame is no matter of pixels, and half the
        steps lost a ball that all of them follow."""
        stages = {
            "first_frame": self.first_frame.suited(pixels),
            "births": self.births.suited(pixels),
            "refinement": self.refinement.suited(pixels),
        }
        return self.model_copy(update=stages)

    def with_preset(self, name: Preset) -> ReconstructSettings:
        """The stages' settings that suit a laptop's processor in minutes (`quick`, the defaults), or a GPU, and on top
        of them those that were set here."""
        preset = ReconstructSettings()
        if name == "full":
            stages = {"first_frame": FULL_FIRST_FRAME, "tracking": FULL_TRACKING, "refinement": FULL_REFINEMENT}
            preset = preset.model_copy(update=stages | {"births": FULL_BIRTHS})
        return self.on(preset)

    def on(self, others: ReconstructSettings) -> ReconstructSettings:
        """Other settings, and on top of them those that were set here."""
        return ReconstructSettings.model_validate(merged(others.model_dump(), self.model_dump(exclude_unset=True)))


FULL_FIRST_FRAME = FirstFrameSettings(
    enough_pixels=380_000,
    steps=1000,
    cameras_per_step=9,
    rates=LearningRates(means=4e-4, quats=2e-3, scales=1e-2, colors=1e-2),
    vignette_rate=2e-3,
    segmentation_weight=1.0,
    averaging=0.995,
    num_foreground=20_000,
    num_background=60_000,
    dropout=0.1,
    opacity_weight=0.02,
    scale_weight=0.2,
    background_frames=10,
    background_share=2 / 3,
    densify=DensifySettings(max_gaussians=100_000, every=50),
)
FULL_TRACKING = TrackingSettings(
    nodes=NodeSettings(count=600, steps=30),
    steps=70,
    cameras_per_step=9,
    segmentation_weight=1.0,
    averaging=0.8,
)
FULL_BIRTHS = BirthSettings(fit=BirthSettings().fit.model_copy(update={"steps": 80}))
"""Twice as many, as on a processor, were not tried there."""
FULL_REFINEMENT = RefinementSettings(enough_pixels=380_000, steps=600)
"""Chosen on four training cameras that were left out of the training
(`scripts/bench/reconstruct/ablate_reconstruction.py`)."""


class GeometrySettings(Settings):
    """All stages of `legs4d reconstruct`."""

    dataset: DatasetSettings = DatasetSettings()
    preset: Literal["quick", "full", "auto"] | None = None
    """Settings of the stages in `reconstruct` that are not set there: those of `quick`, of `full`, or by the engine
    (`auto`): `full` on CUDA."""
    method: Literal["auto", "tracking", "deform"] = "auto"
    """How what moves is found: from frame to frame, which needs several cameras in each; or in all frames together; by
    the footage (`auto`)."""
    matches: Literal["auto", "lightglue", "none"] = "auto"
    """What is matched between the cameras, to start from where footage has no points: what LightGlue finds, nothing, or
    what the run has begun with, else LightGlue's where its weights are there (`auto`)."""
    reconstruct: ReconstructSettings = ReconstructSettings()
    """Of tracking."""
    deform: DeformSettings = DeformSettings()


class TrainSettings(GeometrySettings):
    """All stages of `legs4d train`."""

    extract: ExtractSettings = ExtractSettings()
    """Only for encoders that see."""
    lift: LiftSettings = LiftSettings()
