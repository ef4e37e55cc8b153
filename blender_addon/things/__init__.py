"""Things in a sequence: a click selects the segment in front; selections with names; objects of their own."""
