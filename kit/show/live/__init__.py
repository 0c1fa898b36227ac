"""A run in progress, from its journal: its state, snapshots of it, its log as text."""
