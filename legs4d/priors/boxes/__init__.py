"""Finds things and names them."""
