"""A run while it goes on, from its journal: its state, a snapshot of it, its log in words."""
