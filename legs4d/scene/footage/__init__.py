"""What readers of all layouts are made of: pictures as shots, names, rigs, masks, choices of cameras."""
