"""Panels, operators and properties that belong to no one part, and what they draw and write with."""
