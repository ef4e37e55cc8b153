"""What a fit knows of the footage: its pictures, and where Gaussians begin."""
