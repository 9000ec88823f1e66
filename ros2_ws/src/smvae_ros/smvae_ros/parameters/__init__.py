"""The node's parameters: declared from the table, checked, applied, and where each came from."""
