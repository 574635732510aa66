"""From the heads of an encoder to what is said to sound where, and how sure that is."""
