"""How fast records are read, and made, beside what a user would pick instead."""
