"""What a person asks for: the run spec, and the runtimes and workloads that it names."""
