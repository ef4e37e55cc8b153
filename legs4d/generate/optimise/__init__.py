"""An object by optimisation, as 4DGen has it: static, coarse and fine, with a HexPlane field that bends it."""
