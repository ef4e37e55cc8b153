"""What was filmed: cameras and synchronised images."""
