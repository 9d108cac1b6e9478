"""What a file holds, told by how it begins and not by its name."""
