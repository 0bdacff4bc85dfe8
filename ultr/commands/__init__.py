"""What the command line does, one command a file. Each returns the text that `ultr.cli` prints."""
