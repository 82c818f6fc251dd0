"""Charts, PDF and files that leave the program."""
