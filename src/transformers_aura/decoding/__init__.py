"""Emissions to text: numpy arrays and callbacks; knows no model."""
