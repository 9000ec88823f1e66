"""RESULTS.md and README's tables, written from the files of the results."""
