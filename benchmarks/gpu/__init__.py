"""What a GPU gives: latents on CUDA and TensorRT, and training at the size of the real data set."""
