"""What people's own folders and tables say: splits by words, films by folders, cells by whoever wrote them."""
