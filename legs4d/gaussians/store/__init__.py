"""The run folder on disk, and what keeps it whole."""
