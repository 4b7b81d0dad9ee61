"""What people did: decisions, roles, names, labels, exports and the audit log, in one database."""
