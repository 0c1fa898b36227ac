"""What every other package stands on: errors, records, JSON, text, units, statistics."""
