"""Finds the things in footage of several cameras: cut out, named, and with one id across cameras and time."""
