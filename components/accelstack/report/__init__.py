"""Plans, tables and checks as a person likes to read them, in a terminal or in an engine's log."""
