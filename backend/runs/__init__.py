"""Runs and datasets as clients see them: listed, opened, streamed frame by frame, asked."""
