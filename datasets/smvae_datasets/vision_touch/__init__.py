"""The Vision&Touch data set: its episode files, fetched and unpacked, and their steps prepared."""
