"""How well an encoder hears: fixed clips, every measure with its interval, pictures, and the tables of the papers."""
