"""Files of labelled sequences, of whatever form."""
