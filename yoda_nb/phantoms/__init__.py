"""Simulated subjects whose noise-free truth is known: anatomy, physics, scanners, vessels."""
