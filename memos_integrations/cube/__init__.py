"""The vocabulary: what a memory is, who may see it, and what the layers ask of one another.

Does no I/O and imports nothing else of this package, so every layer can speak it.
"""
