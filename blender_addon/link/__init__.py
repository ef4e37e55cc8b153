"""The connection to a backend, and everything that goes over it."""
