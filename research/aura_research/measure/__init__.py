"""Measures a student beside what it competes with: `python -m aura_research.measure STUDENT_FOLDER`."""
