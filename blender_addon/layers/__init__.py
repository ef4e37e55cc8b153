"""Prompts as layers: their curves, strips, presets and the list in the panel."""
