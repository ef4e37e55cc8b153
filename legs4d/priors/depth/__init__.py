"""How far away things are."""
