"""Spatial-AST, the spatial audio encoder of BAT (Zheng et al., ICML 2024, section 4.1), every dimension an option."""
