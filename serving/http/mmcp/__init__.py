"""The Motion Model Context Protocol: a door for animation software (docs/mmcp.md)."""
