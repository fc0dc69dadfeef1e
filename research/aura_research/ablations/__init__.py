"""Ablations of the student that ships: which of its settings matter, on the closed domain of spoken orders."""
