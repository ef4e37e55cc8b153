"""Splat files of any program as sequences, without a backend."""
