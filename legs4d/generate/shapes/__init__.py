"""Shapes of an object at its first moment, of one picture or of views, without learned weights."""
