"""What the method is compared with on the same LLM and the same data, trained by the same trainer."""
