"""vLLM in this process, offline: its scheduler, its paged attention and its kernels, under Dobby's engine contract."""
