"""Corrections by hand: the requests, their effect on labels, and the history of labels."""
