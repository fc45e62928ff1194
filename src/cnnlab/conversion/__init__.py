"""Weights of others in, networks out."""
