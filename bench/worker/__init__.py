"""The measured process: the standard library, torch, the model, and nothing else."""
