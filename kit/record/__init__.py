"""What a run writes and how it is read: journal, samples, phases, manifest, archive."""
