"""Measures a student beside what it competes with: `python -m student.measure STUDENT_FOLDER`."""
