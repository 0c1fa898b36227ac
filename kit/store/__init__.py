"""The store, ``runs/``: sealed runs, the ledger of every attempt, and the seal."""
