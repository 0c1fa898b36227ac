"""Parts of the Live screen: what it reads, what it says, what it draws."""
