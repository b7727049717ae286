"""What `aiml watch` reads, makes of it and shows."""
