"""Does a scorer measure what it says? Against people, on real text, and at what speed."""
