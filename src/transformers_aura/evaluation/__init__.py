"""Evaluation that people can trust: benchmarks, systems under one interface, scorers, intervals and paired tests."""
