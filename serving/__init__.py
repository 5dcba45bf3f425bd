"""The command line, the pipeline and the servers."""
