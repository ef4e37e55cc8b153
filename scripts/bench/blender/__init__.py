"""Playback, import and prompts inside Blender."""
