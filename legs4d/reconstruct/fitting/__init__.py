"""Optimising Gaussians: parameters, losses, Adam, adding and removing."""
