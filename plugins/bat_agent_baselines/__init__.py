"""The encoders that BAT compares Spatial-AST with (table 3): SELDnet for two ears, AudioMAE for one."""
