"""Jobs: queued, kept on disk, done by processes of their own, followed by whoever asked."""
