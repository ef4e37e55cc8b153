"""Cuts things out."""
