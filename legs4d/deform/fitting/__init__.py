"""What a fit holds and how it goes on: Gaussians, poses, which pictures each step looks at, Adam, growth."""
