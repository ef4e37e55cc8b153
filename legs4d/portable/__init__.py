"""What library, server and Blender extension share (it carries a copy): numpy and the standard library alone."""
