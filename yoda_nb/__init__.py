"""yoda-nb: medical image translation with 2.5D diffusion, explored in notebooks."""

__version__ = "0.1.0"
