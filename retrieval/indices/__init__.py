"""Vector indices behind one interface: exact search and inverted lists, on the CPU or a GPU."""
