"""General convex programs that know nothing of designs."""
