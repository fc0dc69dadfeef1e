"""Pipelines: one object that loads, asks and answers."""
