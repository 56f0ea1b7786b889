"""Days' events as Merkle trees, so that nobody can change or add one afterwards unseen (docs/proofs.md).

Imports go down: leaves, trees (pure); store; closing and proven_events.
"""
