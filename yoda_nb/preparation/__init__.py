"""From the files of a scanner to a volume: registration, bias fields, the brain, doubts about all of them."""
