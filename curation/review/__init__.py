"""What people do with a batch: register, decide, act, fill up, settle, sign; `store` is the database below."""
