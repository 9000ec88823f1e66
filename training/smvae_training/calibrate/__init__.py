"""What is fitted to a trained model on records it has not seen: scales, readout, 8 bits."""
