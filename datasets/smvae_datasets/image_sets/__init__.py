"""Sets of still images with labels, attributes or transformations as further modalities."""
