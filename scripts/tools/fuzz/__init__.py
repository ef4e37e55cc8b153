"""Files and datasets broken in thousands of ways."""
