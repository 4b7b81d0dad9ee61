"""The database of the review: tables, migrations, decisions, people, labels, the audit log as a hash chain."""
