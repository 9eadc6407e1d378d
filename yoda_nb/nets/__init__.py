"""Nets: building blocks, the plain U-Nets, and models on disk."""
