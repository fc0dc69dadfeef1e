"""How the student that ships with the project was made and measured."""
