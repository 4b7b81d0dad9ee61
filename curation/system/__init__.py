"""The operating system and files of others: bounded reads, locks, processes, outputs that destroy nothing."""
