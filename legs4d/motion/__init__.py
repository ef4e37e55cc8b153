"""Objects of a run in time: where they are, how they turn, what they touch, and which actions that makes."""
