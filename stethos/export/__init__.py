"""Models as files for a phone, a watch or a browser: graphs, their parity with Python, and what they cost."""
