"""What bends canonical Gaussians in time: control nodes, or a HexPlane field, behind one protocol (`field.Field`)."""
