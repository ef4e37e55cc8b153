"""Splat files and their import."""
