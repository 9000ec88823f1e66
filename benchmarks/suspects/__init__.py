"""What novelty and suspects find, how soon, and how often they cry wolf."""
