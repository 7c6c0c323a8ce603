"""Video files: what is in them, how they are segmented, decoded and cut."""
