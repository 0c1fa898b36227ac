"""What is measured: meters, the sampler, the load driver, recordings of other tools."""
