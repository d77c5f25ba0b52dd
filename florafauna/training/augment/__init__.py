"""What training changes in a photo, drawn by f(seed, epoch, photo)."""
