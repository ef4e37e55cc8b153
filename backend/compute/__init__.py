"""Pictures and other work that needs torch, answered in seconds by one process beside the server."""
