"""Memory behind LlamaIndex's own interfaces: thin rooms over one ``MOS``."""
