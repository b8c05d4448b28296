"""Stores of labelled photos, and samples made of them."""
