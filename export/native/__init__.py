"""A compiled engine for graphs on the CPU, built at export for the machine at hand."""
