"""Settings of canonical Gaussians and of what bends them in time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from legs4d.config.base import LearningRates, Settings, merged

FEWEST = 500
"""Gaussians that there may be however small the footage is."""


class GrowthSettings(Settings):
    """Adding and removing canonical Gaussians; the count is given, and the threshold comes out."""

    every: int = Field(default=100, gt=0)
    """Steps between rounds."""
    start: float = Field(default=0.06, ge=0, le=1)
    stop: float = Field(default=0.6, ge=0, le=1)
    """First and last round, as a share of all steps."""
    max_gaussians: int = Field(default=12_000, gt=0)
    split_above: float = 0.01
    """Gaussians wider than this share of the radius are split, narrower ones cloned (Kerbl et al.: 1 %)."""
    max_scale: float = 0.15
    """Wider than this share of the radius: removed."""
    min_opacity: float = 0.01
    """Fainter: removed."""


class NodesSettings(Settings):
    """Control nodes, moved in time by a small network (SC-GS, Huang et al. 2024)."""

    count: int = Field(default=384, gt=0)
    bindings: int = Field(default=4, gt=0)
    """Nearest nodes that carry a Gaussian, with weights softmax(-d² / 2 r²)."""
    reach: float = Field(default=1.0, gt=0)
    """r of a node in mean distances to its nearest others."""
    weights_rate: float = Field(default=0.0, ge=0)
    """Step size of what each Gaussian adds to the logarithms of its weights, in that of the network, once all pictures
    are taken up and nodes are spread for the last time: what touches something else is not to move with it. 0: distance
    alone."""
    width: int = Field(default=64, gt=0)
    depth: int = Field(default=4, gt=1)
    """Layers of the network, and values of each."""
    place_waves: int = Field(default=6, ge=0)
    time_waves: int = Field(default=6, ge=0)
    """Octaves of sines in which the network is told place and time."""
    placed: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.05, 0.15, 0.3)
    """Shares of the steps after which nodes are spread anew over the Gaussians that there are then."""
    bind_every: int = Field(default=400, gt=0)
    """Steps after which Gaussians are bound anew, beside every round of growth; no more once weights are learned: new
    ones then have their parent's nodes."""
    rigid_weight: float = Field(default=0.05, ge=0)
    """Times how far neighbouring nodes are from moving as one rigid thing, in squared radii per squared distance."""
    rigid_neighbours: int = Field(default=6, gt=0)
    rigid_up_to: float = Field(default=0.0, ge=0)
    """Share of their distance by which neighbours may be off before the cost grows with the first power instead of the
    square: what is rigid but for joints costs less than what gives a little everywhere. 0: always the square."""
    steady_weight: float = Field(default=0.0, ge=0)
    """Times how much nodes change their pace from frame to frame, in squared radii; on a circle as they turn."""


class PlanesSettings(Settings):
    """A HexPlane field that bends every Gaussian by itself (DreamScene4D's sizes by default)."""

    channels: int = Field(default=16, gt=0)
    space: int = Field(default=32, gt=1)
    """Entries along each axis at the coarsest level; each further level has twice as many."""
    levels: int = Field(default=2, gt=0)
    time: int = Field(default=0, ge=0)
    """Entries along time; 0: one for two frames, 8 at least."""
    width: int = Field(default=64, gt=0)
    """Of the network behind the planes."""
    layers: int = Field(default=1, gt=0)
    """Of that network, before its heads."""
    combine: Literal["product", "concatenate"] = "product"
    grid_rate: float = Field(default=10.0, gt=0)
    """Step size of the planes, in that of the network."""
    smooth_weight: float = Field(default=1e-3, ge=0)
    """Times the total variation of the planes in space."""
    time_weight: float = Field(default=1e-2, ge=0)
    """Times the second differences of the planes along time."""


class FollowingSettings(Settings):
    """Taking up pictures from moment to moment, those next that are explained best already, so that limbs are not taken
    for each other."""

    share: float = Field(default=0.0, ge=0, le=1)
    """Of the pictures, those to begin with: of moments in a row in which silhouettes show the whole of what moves. 0:
    all pictures are looked at from the first step."""
    until: float = Field(default=0.4, ge=0, le=1)
    """Share of the steps after which all pictures are taken up."""
    rigid_weight: float = Field(default=0.02, ge=0)
    rigid_up_to: float = Field(default=0.1, ge=0)
    steady_weight: float = Field(default=20.0, ge=0)
    """In place of those of the nodes: what is followed keeps its pace, and bends at joints."""


class DeformSettings(Settings):
    """Fitting canonical Gaussians, and what bends them, to pictures of all times together."""

    field: Literal["nodes", "planes"] = "nodes"
    """What bends: control nodes, or a HexPlane field."""
    enough_pixels: int = Field(default=600_000, gt=0)
    """In all training pictures together: with fewer there are fewer Gaussians in proportion, and fewer steps, by the
    square root, as what pixels do not determine takes no time. 1: always the numbers as they stand."""
    steps: int = Field(default=4000, gt=0)
    pictures_per_step: int = Field(default=2, gt=0)
    num_points: int = Field(default=4_000, gt=0)
    """To start from, inside the silhouettes' hull, or in a volume; given points are all taken, up to the most."""
    start_opacity: float = Field(default=0.1, gt=0, lt=1)
    opacities_held: float = Field(default=0.0, ge=0, lt=1)
    """Share of the steps in which opacities stay what they are: a volume would fade before it has found its shape."""
    following: FollowingSettings = FollowingSettings()
    rates: LearningRates = LearningRates(means=4e-4, quats=2e-3, scales=1e-2, opacities=5e-2, colors=1e-2)
    """Higher than a GPU's, as there are fewer steps: 1.8 dB more after 700 of them on a model of 100×100 pixels."""
    means_decay: float = 0.01
    """The rate of the means falls to this share, exponentially."""
    settle: float = Field(default=0.2, gt=0, le=1)
    """All other rates of Gaussians fall to this share in the second half."""
    sh_degree: int = Field(default=0, ge=0, le=3)
    """The direction of one moving camera tells the moment: colours that depend on it can learn pictures by heart."""
    static_sh_degree: int = Field(default=3, ge=0, le=3)
    """In its place where there is one moment alone: what does not move shows all its sides, and how they shine."""
    sh_start: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps after which colours may depend on the view."""
    deformation_rate: float = 2e-3
    deformation_decay: float = 0.05
    deformation_settle: float = Field(default=1.0, gt=0, le=1)
    """To this share it falls besides, in the second half."""
    deformation_start: float = Field(default=0.0, ge=0, lt=1)
    """Share of the steps without deformation."""
    ssim_share: float = 0.2
    square_weight: float = Field(default=0.0, ge=0)
    """Times mean squared differences of pictures, beside the absolute ones, for what is far off, as outlines are."""
    depth_weight: float = Field(default=0.1, ge=0)
    """Times how far inverses of measured depths (LiDAR) are from those of what is drawn, in inverse medians of what is
    measured; 0: what is measured is not read."""
    opacity_weight: float = Field(default=0.0, ge=0)
    """Times the mean opacity."""
    background: Literal["auto", "kept", "removed"] = "auto"
    """What masks leave out of opaque pictures: part of the scene, or nothing; auto: nothing in static captures, as what
    lies about an object on a turntable does not turn with it."""
    changing: tuple[Literal["scales", "opacities"], ...] = ()
    """What else of a Gaussian may change in time."""
    pose_rate: float = Field(default=0.0, ge=0)
    """Step size of a small turn (radians) and shift (of the distance to the middle) of every pose: 1e-3 where poses are
    wrong by a degree or so; 0: poses are right."""
    tones: Literal["one", "each"] = "one"
    """Whether all pictures show a colour alike, or each has an exposure and tint of its own: gain and offset of each
    channel, nothing on average; a camera that stands still has one for all times."""
    tone_rate: float = Field(default=5e-3, gt=0)
    """Step size of these gains (logarithm) and offsets (of 1)."""
    still_below: float = Field(default=0.5, ge=0)
    """Pixels, as seen from the radius: Gaussians that never go farther from where they are on average are static."""
    growth: GrowthSettings = GrowthSettings()
    nodes: NodesSettings = NodesSettings()
    planes: PlanesSettings = PlanesSettings()
    keep_every: float = Field(default=30.0, gt=0)
    """Seconds after which a fit that is going on is written to the run folder, to be gone on with after a kill."""
    seed: int = 0

    def with_preset(self, name: Literal["quick", "full"]) -> DeformSettings:
        """The settings that suit a processor (`quick`, the defaults) or a GPU, and on top of them those set here."""
        return self.on(FULL_DEFORM if name == "full" else DeformSettings())

    def suited(self, pixels: int) -> DeformSettings:
        """Those for footage with so many pixels in all training pictures; suiting them again changes nothing."""
        share = min(1.0, pixels / self.enough_pixels)
        if share == 1:
            return self
        most = max(FEWEST, round(share * self.growth.max_gaussians))
        return self.model_copy(
            update={
                "enough_pixels": 1,
                "steps": max(1, round(share**0.5 * self.steps)),
                "num_points": min(self.num_points, most),
                "growth": self.growth.model_copy(update={"max_gaussians": min(self.growth.max_gaussians, most)}),
            }
        )

    def on(self, others: DeformSettings) -> DeformSettings:
        """Other settings, and on top of them those that were set here."""
        return DeformSettings.model_validate(merged(others.model_dump(), self.model_dump(exclude_unset=True)))


FULL_DEFORM = DeformSettings(
    steps=7_500,
    pictures_per_step=8,
    num_points=30_000,
    rates=LearningRates(means=1.8e-4, quats=1e-3, scales=5e-3, opacities=2e-2, colors=2.5e-3),
    deformation_settle=0.2,
    square_weight=3.0,
    following=FollowingSettings(share=0.1, until=0.5),
    growth=GrowthSettings(every=200, max_gaussians=40_000),
    nodes=NodesSettings(
        count=1024, weights_rate=100, width=256, depth=6, place_waves=4, time_waves=5, rigid_weight=0.05
    ),
    planes=PlanesSettings(channels=32, space=64, levels=4),
)
"""For a GPU. Eight pictures a step take twice the time of one, and of two animated models of 400×400 pixels were worth
2 dB of held-out views in the same seconds; a rigid weight of 1 cost 4 dB."""
