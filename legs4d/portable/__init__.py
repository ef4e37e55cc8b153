"""What library, server and Blender extension share: numpy and the standard library alone; the extension carries a copy."""
