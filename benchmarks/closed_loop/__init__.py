"""What latents are worth in the loop: pegs seated by operators with help, while sensors fail."""
