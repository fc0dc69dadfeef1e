"""Many recordings at once, for `aura ask` and `aura transcribe`: inputs -> windows of about the same length -> rows of an output that can be resumed."""
