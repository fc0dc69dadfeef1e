"""Everything that makes and measures the student which ships with the project."""
