"""Parts of the Live screen: its data, its texts, its widgets."""
