"""A capture in the scene: its points, the moment that they show, and how they are displayed."""
