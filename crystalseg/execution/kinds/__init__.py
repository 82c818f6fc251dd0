"""The kinds of long work. Each kind is a module here whose `KIND` is a `work.Kind`; adding a module adds a kind.

In comes what was asked of a folder; out go its state, its runs and the copies of images in it. A kind must not know
pages or the command line, which ask `work` for the same of all kinds.
"""
