"""`aura web`: a page with a microphone. Only `page` knows gradio."""
