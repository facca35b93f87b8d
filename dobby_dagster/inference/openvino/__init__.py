"""Qwen2 and Llama on the CPU by OpenVINO: one compiled graph, keys and values in pages, slots refilled at once."""
