"""Poolings of the evidence to one number a class: one file, one Keras layer."""
