"""Projects: who is in them, as what, and who is invited (FR3-CONS-04)."""
