"""Students in other languages: what is said in each (`de.yaml`, ...), a corpus of it, and the command that teaches and measures."""
