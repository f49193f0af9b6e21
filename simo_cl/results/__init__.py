"""What a suite has left on disk: read and written here and nowhere else."""
