"""Extraction and lifting."""
