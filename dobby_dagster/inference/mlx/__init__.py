"""Qwen2 and Llama on Apple's GPUs by MLX, which also computes on CPUs, for tests."""
