"""A sequence behaves as one object, though it is an empty and its clouds: selected, hidden, copied, linked as one."""
