"""The pages' library side: what a session looks at, which files it may open, long work in processes of its own."""
