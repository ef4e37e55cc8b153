"""The network `tiny4d`: clips of objects around which cameras stand, training, and what held-out clips say of it."""
