"""How validators agree: Simplex as a machine without I/O (docs/protocol.md C0–C19, J1–J9)."""
