"""Memory behind LangChain's own interfaces: thin rooms over one ``MOS``."""
