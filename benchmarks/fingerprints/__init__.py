"""Published fingerprints of model weights, written anew from their formulas, to be measured on the same pairs."""
