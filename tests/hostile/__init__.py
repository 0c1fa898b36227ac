"""Programs of a stranger, which tests run in the sandbox and nowhere else."""
