"""How the nets that measure were trained: feature nets of the Fréchet distance, and the lesion segmenter."""
