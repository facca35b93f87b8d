"""The engine protocol and the transformers engine: devices, prompts, batching. The only layer that knows torch."""
