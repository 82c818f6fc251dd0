"""Corrections by hand: what was asked for, what it does to labels, and the history of labels that it makes."""
