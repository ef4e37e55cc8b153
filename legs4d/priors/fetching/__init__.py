"""Gets weights out of packages into the cache."""
