"""From what a person has (an audio file, a chat) to what the model takes (features, token ids)."""
