"""Which reward should be used? Designs are trained on, side by side, and held against the truth."""
