"""The graphs of a bundle as they run: sessions, and the set encoder with what it keeps."""
