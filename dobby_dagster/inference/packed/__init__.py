"""Qwen2 and Llama on the CPU by torch: prompts packed end to end without padding, and prepacked weights."""
