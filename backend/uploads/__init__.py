"""Files that clients send to a server that does not see their disk."""
