"""Figures: plots that stand alone, and explorers moved by hand."""
