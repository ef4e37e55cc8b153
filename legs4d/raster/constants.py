"""Numbers that both engines and the reference share (docs/conventions.md); csrc/cpu/projection.h has the same."""

BLUR = 0.3
"""eps2d: added to both variances of a projected covariance, px²."""
ALPHA_MIN = 1 / 255
"""A weaker contribution does not count."""
ALPHA_MAX = 0.999
TRANSMITTANCE_MIN = 1e-4
"""A ray ends before its transmittance would fall to this."""
FRUSTUM_MARGIN = 0.3
"""Share of the half image by which the point of linearisation may leave the frustum."""
