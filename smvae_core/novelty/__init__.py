"""What does not fit: how unusual a set of samples is, and which sensor the others speak against."""
