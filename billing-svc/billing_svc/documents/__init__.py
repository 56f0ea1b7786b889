"""Invoices and credit notes as files. What a reader may see is decided once, by the message that the API
gives them: files are made of that and of nothing else that tells of the other side."""
