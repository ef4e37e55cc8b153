"""Masks of pictures, wherever they come from: the footage, files, helpers; and which pixels each has."""
