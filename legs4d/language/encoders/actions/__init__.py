"""The encoder `actions`: what moves says what it does, and prompts in open words find it."""
