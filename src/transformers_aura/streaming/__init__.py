"""Speech that arrives in chunks: the student listens while somebody speaks, and answers as soon as they stop."""
