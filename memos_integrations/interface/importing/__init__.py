"""Memories of other systems, read from their files: what is foreign is read here, and only here.

Called by ``import_from``. Each reader yields what can be remembered and tells what it leaves.
"""
