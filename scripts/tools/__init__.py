"""What maintainers run: set-up, packaging, breaking things on purpose."""
