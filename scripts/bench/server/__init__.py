"""The server, its wire, its answers."""
