"""Finds people and their joints."""
