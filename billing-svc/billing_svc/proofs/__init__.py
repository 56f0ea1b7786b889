"""The proof file of an invoice (docs/proofs.md): what is in it never changes once the invoice is issued and
its days are closed."""
