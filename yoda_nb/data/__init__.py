"""Where volumes come from: the manifest, phantoms and their anatomies."""
