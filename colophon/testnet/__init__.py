"""Networks on one machine: made, started as processes, watched, stopped (docs/operating.md)."""
