"""What is measured of the node: one module per measurement, each with `measure`."""
