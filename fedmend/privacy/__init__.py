"""What protects updates beyond staying at home."""
