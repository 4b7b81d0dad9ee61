"""Simple rules, one file each: what every design must stand beside, drawn under the same constraints."""
