#!/usr/bin/env bash
# usd-core 26.11 computes the extent of UsdGeomPoints, but none for UsdVolParticleField3DGaussianSplat, a Boundable too:
# where a writer has left `extent` out, BBoxCache says that the splats are nowhere, so that nothing frames or culls them rightly.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q --disable-pip-version-check usd-core==26.11
"$folder/env/bin/python" - <<'PY'
from importlib.metadata import version

from pxr import Gf, Usd, UsdGeom, UsdVol

places = [Gf.Vec3f(0, 0, 0), Gf.Vec3f(1, 2, 3)]
stage = Usd.Stage.CreateInMemory()
points = UsdGeom.Points.Define(stage, "/points")
points.CreatePointsAttr(places)
splats = UsdVol.ParticleField3DGaussianSplat.Define(stage, "/splats")
splats.CreatePositionsAttr(places)
splats.CreateScalesAttr([Gf.Vec3f(0.1)] * 2)
splats.CreateOrientationsAttr([Gf.Quatf(1)] * 2)
splats.CreateOpacitiesAttr([1.0, 1.0])
assert splats.GetPrim().IsA(UsdGeom.Boundable)


def bounds(prim):
    """The world's box around a prim, or None if it is empty."""
    box = UsdGeom.BBoxCache(Usd.TimeCode.Default(), [UsdGeom.Tokens.default_]).ComputeWorldBound(prim).ComputeAlignedBox()
    return None if box.IsEmpty() else (tuple(box.GetMin()), tuple(box.GetMax()))


seen = {
    "points": bounds(points.GetPrim()),
    "splats": bounds(splats.GetPrim()),
    "computed for splats": UsdGeom.Boundable.ComputeExtentFromPlugins(splats, Usd.TimeCode.Default()),
}
splats.CreateExtentAttr([Gf.Vec3f(-0.3), Gf.Vec3f(1.3, 2.3, 3.3)])
told = bounds(splats.GetPrim())
print(f"usd-core {version('usd-core')}")
print("a good guess: a box around both, as extents of Boundables are computed where they are not authored")
print(f"seen: {seen}; with an authored extent: {told}")
right = seen["points"] is not None and seen["splats"] is None and seen["computed for splats"] is None and told is not None
raise SystemExit(0 if right else 1)
PY
