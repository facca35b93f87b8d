"""Qwen2 and Llama on the CPU without padding: prompts packed end to end, weights prepacked, slots refilled at once."""
