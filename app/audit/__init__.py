"""The audit log: who asked for which analysis, and what was answered. Each line names the hash of the line before."""
