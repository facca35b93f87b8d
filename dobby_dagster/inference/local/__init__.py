"""The engine on this machine: devices, tokenizer, scheduler, backends."""
