"""Kernel methods: systems whose hot work is a reduction over pairs."""
