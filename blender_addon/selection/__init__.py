"""What of a sequence is selected, deleted or hidden: a mask in the file, that everything obeys; the run stays whole."""
