"""How much work is put into an ordinary video; every number of it with its reason."""

from __future__ import annotations

from dataclasses import dataclass, field

from legs4d.config.deform import DeformSettings, NodesSettings


@dataclass(frozen=True)
class VideoSettings:
    """Chosen on the calibration scenes of `scripts/training` and on two of the three clips of DAVIS at hand.

    Attributes:
        canonical_side, motion_side: most pixels of the crops' sides in the stages objects and motion.
        seen_side: of the crops in which it is judged what a frame shows, finer than Gaussians lie.
        color_side: most pixels of the sides of the crops of which each frame's colours are taken, the picture's own.
        most_pixels: of an object's silhouette, a Gaussian in front and one behind each; most_tracked: followed by flow.
        track_steps: of the nodes' network alone, towards tracks of flow; batch: frames of each.
        fit_steps: of nodes and looks, by rendering; fit_batch: frames of each.
        track_looks, fit_looks: at each frame, which long videos take more steps for.
        color_steps: of each frame's own colours.
        rgb, alpha, tracks, rigid: weights of the losses; tracks in squared crops.
        plate_side: most pixels of the background's longer side, a Gaussian each.
    """

    canonical_side: int = 288
    most_pixels: int = 16000
    most_tracked: int = 800
    motion_side: int = 192
    seen_side: int = 320
    color_side: int = 640
    track_steps: int = 120
    track_batch: int = 8
    track_looks: int = 32
    fit_steps: int = 800
    fit_batch: int = 4
    fit_looks: int = 120
    color_steps: int = 30
    rgb: float = 1.0
    alpha: float = 2.0
    tracks: float = 20.0
    rigid: float = 0.3
    steady: float = 0.02
    plate_side: int = 480
    nodes: int = 96
    node_rate: tuple[float, float] = (1e-2, 1e-3)
    look_rate: float = 5e-3
    seed: int = 0
    deform: DeformSettings = field(default_factory=DeformSettings)

    def steps(self, frames: int) -> tuple[int, int]:
        """(towards tracks, by rendering) of so many frames."""
        track = max(self.track_steps, -(-self.track_looks * frames // self.track_batch))
        return track, max(self.fit_steps, -(-self.fit_looks * frames // self.fit_batch))

    def deforming(self) -> DeformSettings:
        """The nodes' own settings."""
        nodes = NodesSettings(
            count=self.nodes,
            width=64,
            depth=4,
            place_waves=4,
            time_waves=6,
            rigid_weight=self.rigid,
            rigid_up_to=0.1,
            steady_weight=self.steady,
        )
        return self.deform.model_copy(update={"nodes": nodes, "field": "nodes", "changing": (), "seed": self.seed})


FULL = VideoSettings()
LITE = VideoSettings(
    canonical_side=192,
    most_pixels=6000,
    most_tracked=400,
    motion_side=128,
    seen_side=240,
    color_side=480,
    track_steps=80,
    track_looks=20,
    fit_steps=400,
    fit_looks=60,
    color_steps=20,
    plate_side=320,
    nodes=64,
)
"""As DreamScene4D's `lite`, which takes less than a third of its steps."""
