"""Skims of the double."""
