"""Gaussians of all shapes, colours and directions, for tests of files."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from legs4d.portable.sh import COEFFICIENTS
from legs4d.portable.splats import Splats


def crowd(count: int = 500, degree: int = 3, seed: int = 3) -> Splats:
    rng = np.random.default_rng(seed)
    rest = rng.normal(0, 0.3, (count, COEFFICIENTS[degree], 3)).astype(np.float32)
    return Splats(
        means=rng.uniform(-5, 5, (count, 3)).astype(np.float32),
        quats=Rotation.random(count, rng=rng).as_quat(scalar_first=True).astype(np.float32),
        scales=np.exp(rng.uniform(-6, 0, (count, 3))).astype(np.float32),
        opacities=rng.random(count).astype(np.float32),
        colors=rng.uniform(-2, 2, (count, 3)).astype(np.float32),
        sh_rest=rest if degree else None,
    )
