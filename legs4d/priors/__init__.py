"""Learned helpers behind small protocols, and what does their work where no weights are."""
