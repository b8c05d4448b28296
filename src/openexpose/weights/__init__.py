"""Weights: released checkpoints read safely and renamed exactly, our own files with provenance, backbone starts."""
