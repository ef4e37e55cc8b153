"""What a clip reveals after its first frame, and what disappears: Gaussians that are born, and that die."""
