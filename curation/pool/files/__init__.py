"""Bytes, packings, lines, tables and folders below the readers; no formats of pools here."""
