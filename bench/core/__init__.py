"""The inference core: the one path to a forward pass, shared by every command that runs a model."""
