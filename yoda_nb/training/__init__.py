"""The one training loop, what it draws from, what a method is, and the committed way to a model."""
