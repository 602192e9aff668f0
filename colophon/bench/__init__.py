"""What this machine can do, against what it could do at most (docs/performance.md)."""
