"""What goes over the wire and to disk: bytes, ids, signatures, blocks, votes, proofs.

Pure: no clock, no socket, no file, no randomness. Imports nothing of ours.
"""
