"""The command line: one file per group, each command importing what it needs when it runs."""
