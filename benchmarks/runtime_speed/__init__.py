"""What embedding, pooling and decoding cost a robot, beside torch and one fused graph."""
