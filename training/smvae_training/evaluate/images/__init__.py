"""Evaluation, report and figures of runs on image sets; episodes are in `evaluation`."""
