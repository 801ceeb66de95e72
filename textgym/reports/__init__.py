"""What was found, for people to read: words and marks of an explained story, and one self-contained HTML page."""
