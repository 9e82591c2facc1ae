"""Files that trainers read, and the card that says where the data come from."""
