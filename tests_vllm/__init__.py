"""Students in vLLM. Run by `make test-vllm`, in an environment that has it."""
