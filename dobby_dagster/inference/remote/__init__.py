"""A model behind an OpenAI-compatible server: vLLM, llama.cpp, Ollama, LM Studio, MLX, transformers."""
