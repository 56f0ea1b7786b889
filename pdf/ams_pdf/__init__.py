"""PDF pages whose text may be in any of the scripts that names come in."""
