"""What services tell people: which kinds there are, how each is worded, and which way it comes."""
