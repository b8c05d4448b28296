"""The command line: one dataclass and a short `run` for each command (tyro); the work lives below."""
