"""What pixels say, put onto Gaussians: the routes and the stage."""
