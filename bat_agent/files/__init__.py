"""Files in and out: written whole or not at all, read within limits, locked against a second writer."""
