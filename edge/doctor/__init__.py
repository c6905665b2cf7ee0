"""`qc doctor`: whether this machine can run a line, and what to do where it cannot.

What is native is loaded in a process of its own, for a library that was built for another processor
ends the process that loads it. So this package imports nothing beyond the standard library before
that was tried.
"""
