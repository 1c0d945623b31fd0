"""Numbers about scores, each with an interval that knows which rows belong to the same subject."""
