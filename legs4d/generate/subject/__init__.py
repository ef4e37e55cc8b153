"""What the object is taken from: pictures cut out and put into the middle, and views from elsewhere."""
