"""Keys, certificates and folders of a federation of real sites."""
